#include "packer/tar_file.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>
#include <optional>
#include <string_view>

#include "base/error.h"

namespace cfm::packer {
namespace {

constexpr uint64_t kBlock = 512;
constexpr uint64_t kMostRecords = 1 << 20;  // bytes of a long name or of pax records

using Block = std::array<uint8_t, kBlock>;

std::string_view field(const Block& block, size_t offset, size_t size) {
  const std::string_view all(reinterpret_cast<const char*>(block.data()) + offset, size);
  return all.substr(0, all.find('\0'));
}

// Octal digits between blanks, or 0x80 and a big-endian number; nullopt for anything else or 2^63 and more.
std::optional<uint64_t> number(const Block& block, size_t offset, size_t size) {
  uint64_t value = 0;
  if (block[offset] == 0x80) {
    for (size_t i = offset + 1; i < offset + size; ++i) {
      if (value >> 55 != 0) return std::nullopt;
      value = value << 8 | block[i];
    }
    return value;
  }
  std::string_view digits = field(block, offset, size);
  while (digits.starts_with(' ')) digits.remove_prefix(1);
  while (digits.ends_with(' ')) digits.remove_suffix(1);
  if (digits.empty()) return 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, 8);
  if (error != std::errc() || end != digits.data() + digits.size() || value >> 63 != 0) return std::nullopt;
  return value;
}

// The sum of the header's bytes, its own field taken as blanks; old archives summed signed bytes.
bool checksum_fits(const Block& block) {
  const std::optional<uint64_t> stated = number(block, 148, 8);
  int64_t plain = 0, with_signs = 0;
  for (size_t i = 0; i < kBlock; ++i) {
    const uint8_t byte = i >= 148 && i < 156 ? uint8_t{' '} : block[i];
    plain += byte;
    with_signs += static_cast<int8_t>(byte);
  }
  return stated && (static_cast<int64_t>(*stated) == plain || static_cast<int64_t>(*stated) == with_signs);
}

// Takes off what leads out of the archive, as tar does when it unpacks: "./", "../" and "/" at the start.
void strip_root(std::string& name) {
  for (bool more = true; more;) {
    more = false;
    for (const std::string_view root : {"./", "../", "/"}) {
      if (!name.starts_with(root)) continue;
      name.erase(0, root.size());
      more = true;
    }
  }
}

void check_not_compressed(const data::ByteSource& archive) {
  const std::string start = data::text_at(archive, 0, std::min<uint64_t>(archive.size, 6));
  for (const auto& [magic, name, command] : {std::array<std::string_view, 3>{"\x1f\x8b", "gzip", "gunzip"},
                                             {"BZh", "bzip2", "bunzip2"},
                                             {std::string_view("\xfd\x37zXZ\0", 6), "xz", "unxz"},
                                             {"\x28\xb5\x2f\xfd", "zstd", "unzstd"}})
    check(!start.starts_with(magic),
          archive.name + " is compressed (" + std::string(name) +
              "): images in it cannot be read one by one. Decompress it first: " + std::string(command) + ".");
}

// What a pax header, or GNU's long name, says of the member that follows.
struct Overrides {
  std::optional<std::string> path, link;
  std::optional<uint64_t> size;
  bool sparse = false;
};

class Archive {
 public:
  Archive(const data::ByteSource& archive, const std::function<void(TarMember)>& visit)
      : archive_(archive), visit_(visit) {}

  void read() {
    check_not_compressed(archive_);
    bool ended = false;
    for (; at_ + kBlock <= archive_.size; at_ += kBlock) {
      Block block;
      data::read_at(archive_, at_, block);
      if (std::ranges::all_of(block, [](uint8_t byte) { return byte == 0; })) {
        ended = true;
        continue;
      }
      if (!checksum_fits(block))
        throw Error(place() + (ended
                                   ? " behind the archive's end is no tar header: there is something else in the file."
                               : members_ == 0 ? " is no tar header: the file is no tar archive, or damaged."
                                               : " is no tar header (its checksum is wrong): the archive is damaged."));
      ended = false;
      take(block);
    }
    check(ended, archive_.name + " is truncated: it ends at byte " + std::to_string(archive_.size) +
                     " without the zeros that end a tar archive. Copy it again.");
    check(members_ > 0, archive_.name + " holds nothing: it is all zeros. Copy it again.");
  }

 private:
  std::string place() const { return "byte " + std::to_string(at_) + " of " + archive_.name; }

  void take(const Block& block) {
    ++members_;
    const char type = static_cast<char>(block[156]);
    const std::optional<uint64_t> stated = number(block, 124, 12);
    if (!stated) throw Error(place() + ": the size in this tar header is no number: the archive is damaged.");
    const bool describes = type == 'x' || type == 'g' || type == 'L' || type == 'K';
    const bool empty = type >= '1' && type <= '6';  // links, devices, folders: their size says nothing
    const uint64_t size = empty ? 0 : describes ? *stated : next_.size.value_or(*stated);
    const uint64_t data = at_ + kBlock;
    if (type == 'S')
      throw Error(place() + ": a sparse file (" + std::string(field(block, 0, 100)) +
                  "). Make the archive without tar's --sparse.");
    if (size > archive_.size - data)
      throw Error(archive_.name + " is truncated: the member at byte " + std::to_string(at_) + " (" +
                  next_.path.value_or(std::string(field(block, 0, 100))) + ") has " + std::to_string(size) +
                  " bytes, the archive ends after " + std::to_string(archive_.size - data) + ". Copy it again.");
    if (describes)
      take_description(type, data, size);
    else
      visit_member(block, type, data, size);
    at_ = data + (size + kBlock - 1) / kBlock * kBlock - kBlock;  // of the last block; the loop adds one
  }

  void take_description(char type, uint64_t data, uint64_t size) {
    check(size <= kMostRecords, place() + ": a name or record of " + std::to_string(size) +
                                    " bytes; up to 1 MiB are read: the archive is damaged.");
    if (type == 'g') return;  // of all members: comments
    const std::string text = data::text_at(archive_, data, size);
    if (type == 'x') return take_records(text);
    (type == 'L' ? next_.path : next_.link) = text.substr(0, text.find('\0'));
  }

  // "27 path=n01440764/a.JPEG\n": the length counts itself, the blank and the newline.
  void take_records(std::string_view text) {
    while (!text.empty() && text.front() != '\0') {
      size_t length = 0;
      const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), length);
      const auto digits = static_cast<size_t>(end - text.data());
      const bool fits = error == std::errc() && length <= text.size() && length >= digits + 3 && text[digits] == ' ' &&
                        text[length - 1] == '\n';
      const std::string_view record = fits ? text.substr(digits + 1, length - digits - 2) : "";
      const size_t equals = record.find('=');
      check(fits && equals != std::string_view::npos, place() + " holds a damaged pax record.");
      take_record(record.substr(0, equals), record.substr(equals + 1));
      text.remove_prefix(length);
    }
  }

  void take_record(std::string_view key, std::string_view value) {
    if (key == "path") next_.path = std::string(value.substr(0, value.find('\0')));
    if (key == "linkpath") next_.link = std::string(value.substr(0, value.find('\0')));
    if (key.starts_with("GNU.sparse.")) next_.sparse = true;
    if (key != "size") return;
    uint64_t size = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), size);
    check(error == std::errc() && end == value.data() + value.size() && size >> 63 == 0,
          place() + " holds a pax record whose size is no number: " + std::string(value.substr(0, 40)) + ".");
    next_.size = size;
  }

  void visit_member(const Block& block, char type, uint64_t data, uint64_t size) {
    TarMember member{.path = std::string(field(block, 0, 100)), .offset = data, .size = size};
    const std::string_view prefix = field(block, 257, 6) == "ustar" ? field(block, 345, 155) : "";
    if (!prefix.empty()) member.path = std::string(prefix) + "/" + member.path;
    if (next_.path) member.path = *next_.path;
    member.folder = type == '5' || member.path.ends_with('/');
    member.regular = (type == '0' || type == '\0' || type == '7') && !member.folder && !next_.sparse;
    if (type == '1' || type == '2') member.link = next_.link.value_or(std::string(field(block, 157, 100)));
    strip_root(member.path);
    if (type == '1') strip_root(member.link);
    // A symbolic link leads on from its own folder.
    if (type == '2')
      member.link =
          (std::filesystem::path(member.path).parent_path() / member.link).lexically_normal().generic_string();
    next_ = {};
    visit_(std::move(member));
  }

  const data::ByteSource& archive_;
  const std::function<void(TarMember)>& visit_;
  uint64_t at_ = 0, members_ = 0;
  Overrides next_;
};

}  // namespace

void for_each_tar_member(const data::ByteSource& archive, const std::function<void(TarMember)>& visit) {
  Archive(archive, visit).read();
}

}  // namespace cfm::packer
