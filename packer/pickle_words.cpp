#include "packer/pickle_words.h"

#include <map>

namespace cfm::packer {

std::optional<PickleGlobal> pickle_global(const std::string& name) {
  // numpy 1 and 2 call the same modules differently.
  static const std::map<std::string, PickleGlobal> known{
      {"numpy.core.multiarray._reconstruct", PickleGlobal::kReconstruct},
      {"numpy._core.multiarray._reconstruct", PickleGlobal::kReconstruct},
      {"numpy.core.numeric._frombuffer", PickleGlobal::kFromBuffer},
      {"numpy._core.numeric._frombuffer", PickleGlobal::kFromBuffer},
      {"numpy.core.multiarray.scalar", PickleGlobal::kScalar},
      {"numpy._core.multiarray.scalar", PickleGlobal::kScalar},
      {"numpy.ndarray", PickleGlobal::kNdarray},
      {"numpy.dtype", PickleGlobal::kDtype},
      {"_codecs.encode", PickleGlobal::kEncode}};
  const auto found = known.find(name);
  return found == known.end() ? std::nullopt : std::optional(found->second);
}

std::string opcode_name(uint8_t opcode) {
  static const std::map<int, const char*> names{{'i', "INST"},
                                                {'o', "OBJ"},
                                                {0x81, "NEWOBJ"},
                                                {0x92, "NEWOBJ_EX"},
                                                {'P', "PERSID"},
                                                {'Q', "BINPERSID"},
                                                {0x82, "EXT1"},
                                                {0x83, "EXT2"},
                                                {0x84, "EXT4"},
                                                {'2', "DUP"},
                                                {'I', "INT"},
                                                {'L', "LONG"},
                                                {'S', "STRING"},
                                                {'V', "UNICODE"},
                                                {'F', "FLOAT"},
                                                {'p', "PUT"},
                                                {'g', "GET"},
                                                {0x8b, "LONG4"},
                                                {0x8f, "EMPTY_SET"},
                                                {0x90, "ADDITEMS"},
                                                {0x91, "FROZENSET"},
                                                {0x97, "NEXT_BUFFER"},
                                                {0x98, "READONLY_BUFFER"},
                                                {'d', "DICT"},
                                                {'l', "LIST"},
                                                {'0', "POP"},
                                                {'1', "POP_MARK"}};
  const auto name = names.find(opcode);
  return std::to_string(opcode) + (name == names.end() ? "" : std::string(" (") + name->second + ")");
}

}  // namespace cfm::packer
