#include "base/file_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "base/log.h"

namespace cfm {
namespace {

// Whether `path` still leads to the open file: its holder may have moved it away before letting go.
bool same_file(int descriptor, const std::filesystem::path& path) {
  struct stat open {
  }, named{};
  return ::fstat(descriptor, &open) == 0 && ::stat(path.c_str(), &named) == 0 && open.st_dev == named.st_dev &&
         open.st_ino == named.st_ino;
}

}  // namespace

FileLock::FileLock(std::filesystem::path file, Kind kind, std::string taken)
    : file_(std::move(file)),
      taken_(std::move(taken)),
      descriptor_(::open(file_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644)) {
  if (descriptor_ < 0)
    throw Error("cannot open " + file_.string() + ": " + std::strerror(errno) +
                    ". Every rank that works there needs the same folder, and may write to it.",
                ExitCode::kRetry);
  try {
    lock(kind);
  } catch (...) {
    ::close(descriptor_);
    throw;
  }
}

FileLock::~FileLock() { ::close(descriptor_); }

void FileLock::share() { lock(Kind::kShared); }

void FileLock::lock(Kind kind) const {
  int code = 0;
  do {
    code = ::flock(descriptor_, (kind == Kind::kExclusive ? LOCK_EX : LOCK_SH) | LOCK_NB);
  } while (code != 0 && errno == EINTR);
  if (code != 0 && errno != EWOULDBLOCK)
    return warn("cannot lock " + file_.string() + ": " + std::strerror(errno) +
                ". See to it that no other job works there.");
  if (code != 0 || !same_file(descriptor_, file_))
    throw Error(
        file_.parent_path().string() + ": " + taken_ + ". (It holds a lock on " + file_.filename().string() + ".)",
        ExitCode::kRetry);
}

}  // namespace cfm
