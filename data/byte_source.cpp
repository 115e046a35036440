#include "data/byte_source.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "base/error.h"

namespace cfm::data {

ByteSource descriptor_bytes(std::shared_ptr<const Descriptor> descriptor, uint64_t size, std::string name) {
  auto read = [descriptor = std::move(descriptor), name](uint64_t offset, std::span<uint8_t> out) {
    while (!out.empty()) {
      const ssize_t got = ::pread(descriptor->number(), out.data(), out.size(), static_cast<off_t>(offset));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) throw Error("cannot read " + name + ": " + std::strerror(errno), ExitCode::kRetry);
      check(got > 0, name + " has become shorter while it was read: it ends before byte " +
                         std::to_string(offset + out.size()) + ".");
      out = out.subspan(static_cast<size_t>(got));
      offset += static_cast<uint64_t>(got);
    }
  };
  return {std::move(name), size, std::move(read)};
}

ByteSource file_bytes(const std::filesystem::path& file) {
  const auto descriptor = std::make_shared<const Descriptor>(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat status;
  check(descriptor->is_open() && ::fstat(descriptor->number(), &status) == 0,
        "cannot read " + file.string() + ": " + std::strerror(errno));
  check(S_ISREG(status.st_mode), "cannot read " + file.string() + ": it is not a regular file.");
  return descriptor_bytes(descriptor, static_cast<uint64_t>(status.st_size), file.string());
}

ByteSource memory_bytes(std::string name, std::string_view bytes) {
  return {std::move(name), bytes.size(), [bytes](uint64_t offset, std::span<uint8_t> out) {
            std::memcpy(out.data(), bytes.data() + offset, out.size());
          }};
}

ByteSource owned_bytes(std::string name, std::string bytes) {
  const auto shared = std::make_shared<const std::string>(std::move(bytes));
  return {std::move(name), shared->size(), [shared](uint64_t offset, std::span<uint8_t> out) {
            std::memcpy(out.data(), shared->data() + offset, out.size());
          }};
}

ByteSource part_of(const ByteSource& source, uint64_t offset, uint64_t size, std::string name) {
  check(offset <= source.size && size <= source.size - offset,
        name + " is truncated: it needs bytes " + std::to_string(offset) + " to " + std::to_string(offset) + " + " +
            std::to_string(size) + " of " + source.name + ", which has " + std::to_string(source.size) + ".");
  return {std::move(name), size,
          [read = source.read, offset](uint64_t at, std::span<uint8_t> out) { read(offset + at, out); }};
}

void read_at(const ByteSource& source, uint64_t offset, std::span<uint8_t> out) {
  check(offset <= source.size && out.size() <= source.size - offset,
        source.name + " is truncated: " + std::to_string(out.size()) + " bytes are expected at byte " +
            std::to_string(offset) + ", it has " + std::to_string(source.size) + ".");
  if (!out.empty()) source.read(offset, out);
}

std::string text_at(const ByteSource& source, uint64_t offset, uint64_t size) {
  check(offset <= source.size && size <= source.size - offset,
        source.name + " is truncated: " + std::to_string(size) + " bytes are expected at byte " +
            std::to_string(offset) + ", it has " + std::to_string(source.size) + ".");
  std::string text(size, '\0');
  if (size > 0) source.read(offset, {reinterpret_cast<uint8_t*>(text.data()), text.size()});
  return text;
}

void for_each_piece(const ByteSource& source, const std::function<void(std::span<const uint8_t>)>& visit) {
  std::vector<uint8_t> piece(std::min<uint64_t>(source.size, 1 << 20));
  for (uint64_t at = 0; at < source.size; at += piece.size()) {
    const std::span<uint8_t> now(piece.data(), std::min<uint64_t>(piece.size(), source.size - at));
    source.read(at, now);
    visit(now);
  }
}

}  // namespace cfm::data
