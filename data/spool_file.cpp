#include "data/spool_file.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"

namespace cfm::data {
namespace {

constexpr size_t kInMemory = size_t{16} << 20;

// O_TMPFILE where the file system has it; elsewhere a name that is removed at once.
int open_unnamed(const std::filesystem::path& folder) {
  const int unnamed = ::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (unnamed >= 0) return unnamed;
  std::string name = (folder / "cfm_spool_XXXXXX").string();
  const int named = ::mkostemp(name.data(), O_CLOEXEC);
  if (named >= 0) ::unlink(name.c_str());
  return named;
}

}  // namespace

void SpoolFile::open() {
  std::error_code ignored;  // open says it better
  if (!folder_.empty()) std::filesystem::create_directories(folder_, ignored);
  descriptor_ = std::make_shared<const Descriptor>(open_unnamed(folder_.empty() ? "." : folder_));
  if (!descriptor_->is_open())
    throw Error("cannot make a temporary file in " + folder_.string() + ": " + std::strerror(errno), ExitCode::kRetry);
}

void SpoolFile::append(std::span<const uint8_t> bytes) {
  if (!on_disk() && start_.size() + bytes.size() <= kInMemory) {
    start_.append(bytes.begin(), bytes.end());
    return;
  }
  if (!on_disk()) {
    open();
    write({reinterpret_cast<const uint8_t*>(start_.data()), start_.size()});
    start_ = {};
  }
  write(bytes);
}

ByteSource SpoolFile::bytes(std::string name) const {
  return on_disk() ? descriptor_bytes(descriptor_, size_, std::move(name)) : owned_bytes(std::move(name), start_);
}

void SpoolFile::write(std::span<const uint8_t> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::pwrite(descriptor_->number(), bytes.data(), bytes.size(), static_cast<off_t>(size_));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0)
      throw Error("cannot write to a temporary file in " + folder_.string() + ": " + std::strerror(errno),
                  ExitCode::kRetry);
    bytes = bytes.subspan(static_cast<size_t>(written));
    size_ += static_cast<uint64_t>(written);
  }
}

}  // namespace cfm::data
