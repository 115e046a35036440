#pragma once
// The words of pickles. Private to pickle.cpp.

#include <cstdint>
#include <optional>
#include <string>

namespace cfm::packer {

// What arrays of numpy are made by.
enum class PickleGlobal : uint64_t { kReconstruct, kFromBuffer, kScalar, kNdarray, kDtype, kEncode };

// By module and name: "numpy.ndarray"; nullopt for any other.
std::optional<PickleGlobal> pickle_global(const std::string& name);

// "129 (NEWOBJ)"
std::string opcode_name(uint8_t opcode);

}  // namespace cfm::packer
