#include "data/array_file.h"

#include <algorithm>

#include "base/error.h"
#include "data/spool_file.h"
#include "data/zip_directory.h"
#include "data/zip_stream.h"

namespace cfm::data {
namespace {

constexpr uint64_t kHeaderBytes = 1 << 16;  // enough for any header that numpy writes

std::string array_name(const std::string& member, const std::filesystem::path& npz) {
  return "array " + member + " of " + npz.string();
}

ArrayFile described(const NpyHeader& header) {
  return {.type = header.type, .shape = header.shape, .fortran_order = header.fortran_order};
}

// The first bytes of a deflated member.
std::string beginning(const std::filesystem::path& npz, const ZipMember& member) {
  std::string bytes;
  stream_zip_member(npz, member.name, member.bytes, [&bytes](std::span<const uint8_t> piece) {
    bytes.append(piece.begin(), piece.end());
    return bytes.size() < kHeaderBytes;
  });
  return bytes;
}

}  // namespace

ArrayFile array_in(const ByteSource& file) {
  const NpyHeader header = read_npy_header(file);
  ArrayFile array = described(header);
  array.bytes = part_of(file, header.bytes, file.size - header.bytes, file.name);
  const size_t item = integer_bytes(array.type);
  if (item == 0) return array;
  const uint64_t expected = array_bytes(array.shape, item, file.name);
  check(array.bytes.size == expected, file.name + " is truncated or damaged: its shape needs " +
                                          std::to_string(expected) + " bytes, it has " +
                                          std::to_string(array.bytes.size) + ".");
  return array;
}

ArrayFile open_npy(const std::filesystem::path& npy) { return array_in(file_bytes(npy)); }

std::vector<ArrayFile> list_npz(const std::filesystem::path& npz) {
  std::vector<ArrayFile> arrays;
  const ByteSource file = file_bytes(npz);
  for (const ZipMember& member : zip_members(file)) {
    if (!member.name.ends_with(".npy")) continue;
    const std::string name = array_name(member.name, npz);
    arrays.push_back(described(read_npy_header(member.stored ? part_of(file, member.offset, member.bytes, name)
                                                             : owned_bytes(name, beginning(npz, member)))));
    arrays.back().key = member.name.substr(0, member.name.size() - 4);
  }
  check(!arrays.empty(), npz.string() + " holds no arrays (.npy files).");
  return arrays;
}

ArrayFile open_npz(const std::filesystem::path& npz, const std::string& key, const std::filesystem::path& spool_folder,
                   bool verify) {
  const ByteSource file = file_bytes(npz);
  const std::vector<ZipMember> members = zip_members(file);
  const auto member = std::ranges::find(members, key + ".npy", &ZipMember::name);
  check(member != members.end(), npz.string() + " holds no array " + key + ".");
  const std::string name = array_name(member->name, npz);
  ByteSource bytes;
  bool spooled = false;
  if (member->stored) {
    bytes = part_of(file, member->offset, member->bytes, name);
    if (verify) stream_zip_member(npz, member->name, member->bytes, [](std::span<const uint8_t>) { return true; });
  } else {
    SpoolFile spool(spool_folder);
    stream_zip_member(npz, member->name, member->bytes, [&spool](std::span<const uint8_t> piece) {
      spool.append(piece);
      return true;
    });
    bytes = spool.bytes(name);
    spooled = spool.on_disk();
  }
  ArrayFile array = array_in(bytes);
  array.key = key;
  array.spooled = spooled;
  return array;
}

}  // namespace cfm::data
