#include "data/zip_directory.h"

#include <algorithm>
#include <string_view>

#include "base/error.h"

namespace cfm::data {
namespace {

// Signatures and sizes of the fixed parts [PKWARE APPNOTE 6.3.10, section 4.3].
constexpr uint32_t kLocal = 0x04034b50, kCentral = 0x02014b50, kEnd = 0x06054b50, kEnd64 = 0x06064b50,
                   kLocator64 = 0x07064b50;
constexpr uint64_t kLocalBytes = 30, kCentralBytes = 46, kEndBytes = 22, kEnd64Bytes = 56, kLocator64Bytes = 20;
constexpr uint64_t kMostDirectory = uint64_t{1} << 28;
constexpr uint32_t kIn64 = 0xffffffff;  // "the value stands in the zip64 field"

uint64_t little_endian(std::string_view bytes, size_t at, size_t size) {
  uint64_t value = 0;
  for (size_t i = size; i-- > 0;) value = value << 8 | static_cast<unsigned char>(bytes[at + i]);
  return value;
}
uint64_t u16(std::string_view bytes, size_t at) { return little_endian(bytes, at, 2); }
uint64_t u32(std::string_view bytes, size_t at) { return little_endian(bytes, at, 4); }
uint64_t u64(std::string_view bytes, size_t at) { return little_endian(bytes, at, 8); }

struct Directory {
  uint64_t entries, bytes, offset;
};

// The end record is the last thing in the file but for a comment of up to 65535 bytes.
Directory find_directory(const ByteSource& archive) {
  const std::string& name = archive.name;
  const uint64_t tail_bytes = std::min<uint64_t>(archive.size, kEndBytes + 65535), tail_at = archive.size - tail_bytes;
  const std::string tail = text_at(archive, tail_at, tail_bytes);
  size_t at = tail.size() < kEndBytes ? std::string::npos : tail.rfind("PK\x05\x06", tail.size() - kEndBytes);
  while (at != std::string::npos && at + kEndBytes + u16(tail, at + 20) != tail.size())
    at = at == 0 ? std::string::npos : tail.rfind("PK\x05\x06", at - 1);
  check(at != std::string::npos, name +
                                     " is no zip archive (which .npz files are), or truncated: it has no directory "
                                     "at its end.");
  Directory found{u16(tail, at + 10), u32(tail, at + 12), u32(tail, at + 16)};
  const uint64_t end_at = tail_at + at;
  if (end_at >= kLocator64Bytes) {
    const std::string locator = text_at(archive, end_at - kLocator64Bytes, kLocator64Bytes);
    if (u32(locator, 0) == kLocator64) {
      const std::string end = text_at(archive, u64(locator, 8), kEnd64Bytes);
      check(u32(end, 0) == kEnd64, name + " is a damaged zip archive: its zip64 directory is not where it says.");
      found = {u64(end, 32), u64(end, 40), u64(end, 48)};
    }
  }
  check(u16(tail, at + 4) == 0 && u16(tail, at + 6) == 0, name + " is one of several disks of a zip archive.");
  check(found.offset <= end_at && found.bytes <= end_at - found.offset && found.bytes <= kMostDirectory &&
            found.entries <= found.bytes / kCentralBytes,
        name + " is a damaged zip archive: its directory does not fit into it.");
  return found;
}

// Replaces values of 0xffffffff by those of the zip64 field (id 1), in the order that they stand there.
void take_zip64(std::string_view extra, std::vector<uint64_t*> values, const std::string& name) {
  std::erase_if(values, [](const uint64_t* value) { return *value != kIn64; });
  while (!values.empty()) {
    check(extra.size() >= 4 && u16(extra, 2) <= extra.size() - 4, name + " is a damaged zip member: no zip64 sizes.");
    const std::string_view field = extra.substr(4, u16(extra, 2));
    if (u16(extra, 0) == 1) {
      check(field.size() >= 8 * values.size(), name + " is a damaged zip member: too few zip64 sizes.");
      for (size_t i = 0; i < values.size(); ++i) *values[i] = u64(field, 8 * i);
      return;
    }
    extra.remove_prefix(4 + field.size());
  }
}

// The member's bytes begin behind its local header, whose name and extra field have lengths of their own.
void locate(const ByteSource& archive, uint64_t header_at, ZipMember& member, uint64_t method,
            const std::string& name) {
  const std::string header = text_at(archive, header_at, kLocalBytes);
  check(u32(header, 0) == kLocal && u16(header, 8) == method && u16(header, 26) == member.name.size(),
        name + " is damaged: its local header is not what the directory says.");
  check(text_at(archive, header_at + kLocalBytes, member.name.size()) == member.name,
        name + " is damaged: its local header has another name.");
  member.offset = header_at + kLocalBytes + member.name.size() + u16(header, 28);
  check(member.offset <= archive.size && member.packed_bytes <= archive.size - member.offset,
        name + " is truncated: its bytes reach beyond the end of the file.");
}

}  // namespace

std::vector<ZipMember> zip_members(const ByteSource& archive) {
  const Directory directory = find_directory(archive);
  const std::string text = text_at(archive, directory.offset, directory.bytes);
  std::string_view rest = text;
  std::vector<ZipMember> members;
  for (uint64_t i = 0; i < directory.entries; ++i) {
    const uint64_t fixed = kCentralBytes;
    check(rest.size() >= fixed && u32(rest, 0) == kCentral &&
              u16(rest, 28) + u16(rest, 30) + u16(rest, 32) <= rest.size() - fixed,
          archive.name + " is a damaged zip archive: entry " + std::to_string(i) + " of its directory is none.");
    ZipMember member{.name = std::string(rest.substr(fixed, u16(rest, 28)))};
    const std::string name = "member " + member.name + " of " + archive.name;
    check((u16(rest, 8) & 1) == 0, name + " is encrypted.");
    const uint64_t method = u16(rest, 10);
    uint64_t header_at = u32(rest, 42);
    member.packed_bytes = u32(rest, 20);
    member.bytes = u32(rest, 24);
    take_zip64(rest.substr(fixed + u16(rest, 28), u16(rest, 30)), {&member.bytes, &member.packed_bytes, &header_at},
               name);
    member.stored = method == 0;
    check(method == 0 || method == 8, name + " is compressed by method " + std::to_string(method) +
                                          "; stored (0) and deflated (8) members are read.");
    // No byte deflates to more than 1032: a larger claim is damage, and not worth asking for memory.
    check(member.bytes / 1100 <= member.packed_bytes, name + " is damaged: it claims an impossible size.");
    check(!member.stored || member.bytes == member.packed_bytes,
          name + " is damaged: it is stored as it is, in another number of bytes.");
    locate(archive, header_at, member, method, name);
    rest.remove_prefix(fixed + u16(rest, 28) + u16(rest, 30) + u16(rest, 32));
    members.push_back(std::move(member));
  }
  return members;
}

}  // namespace cfm::data
