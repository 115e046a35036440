#include "checkpoint/input_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "base/failpoint.h"

namespace cfm::checkpoint {
namespace {

constexpr int64_t kLargestRead = 1 << 30;  // Linux reads at most 2 GiB - 4 KiB at once

[[noreturn]] void fail(const std::string& doing, const std::filesystem::path& path) {
  const int number = errno;
  const bool missing = number == ENOENT || number == ENOTDIR || number == ENAMETOOLONG;
  throw Error("cannot " + doing + " " + path.string() + ": " + std::strerror(number),
              missing ? ExitCode::kWontWork : ExitCode::kRetry);
}

}  // namespace

InputFile::InputFile(std::filesystem::path path) : path_(std::move(path)) {
  failpoint("open", path_);
  descriptor_ = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor_ < 0) fail("open", path_);
  struct stat status {};
  const bool known = ::fstat(descriptor_, &status) == 0;
  if (!known || !S_ISREG(status.st_mode)) {
    ::close(descriptor_);
    if (!known) fail("stat", path_);
    throw Error(path_.string() + " is not a regular file: give the path of a file");
  }
  size_ = status.st_size;
}

InputFile::~InputFile() { ::close(descriptor_); }

void InputFile::read(void* into, int64_t offset, int64_t size) const {
  failpoint("read", path_);
  char* at = static_cast<char*>(into);
  while (size > 0) {
    const ssize_t got = ::pread(descriptor_, at, static_cast<size_t>(std::min(size, kLargestRead)), offset);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail("read", path_);
    if (got == 0)
      throw Error(path_.string() + " ends at byte " + std::to_string(offset) + ", " + std::to_string(size) +
                      " bytes early: it has shrunk since it was opened",
                  ExitCode::kRetry);
    at += got;
    offset += got;
    size -= got;
  }
}

std::string whole_file(const std::filesystem::path& path) {
  const InputFile file(path);
  std::string bytes(static_cast<size_t>(file.size()), '\0');
  file.read(bytes.data(), 0, file.size());
  return bytes;
}

}  // namespace cfm::checkpoint
