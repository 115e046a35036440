#include "base/durable_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "base/failpoint.h"

namespace cfm {
namespace {

// A disk that is full or ill may recover; what may not be written to will not.
ExitCode code_of_writing(int number) {
  const bool lasting = number == EACCES || number == EPERM || number == EROFS || number == EISDIR ||
                       number == ENOTDIR || number == ENAMETOOLONG || number == ELOOP;
  return lasting ? ExitCode::kWontWork : ExitCode::kRetry;
}

[[noreturn]] void fail(const std::string& doing, const std::filesystem::path& path) {
  throw Error("cannot " + doing + " " + path.string() + ": " + std::strerror(errno), code_of_writing(errno));
}

[[noreturn]] void fail_to_read(const std::filesystem::path& path, int number) {
  const bool lasting = number == ENOENT || number == ENOTDIR || number == EISDIR || number == ENAMETOOLONG ||
                       number == ELOOP || number == EACCES || number == EPERM;
  throw Error("cannot read " + path.string() + ": " + std::strerror(number),
              lasting ? ExitCode::kWontWork : ExitCode::kRetry);
}

bool aligned(const char* at) { return reinterpret_cast<std::uintptr_t>(at) % kDirectBlock == 0; }

void fsync_path(const std::filesystem::path& path, int flags) {
  const int descriptor = ::open(path.c_str(), flags);
  if (descriptor < 0) fail("open", path);
  const bool ok = ::fsync(descriptor) == 0;
  ::close(descriptor);
  if (!ok) fail("fsync", path);
}

}  // namespace

DurableFile::DurableFile(std::filesystem::path path, Through through) : path_(std::move(path)) {
  failpoint("create", path_);
  descriptor_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (descriptor_ < 0) fail("create", path_);
  direct_ = through == Through::kNothing && ::fcntl(descriptor_, F_SETFL, O_DIRECT) == 0;  // tmpfs, say, refuses
}

DurableFile::~DurableFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void DurableFile::append(const void* bytes, size_t size) {
  failpoint("write", path_);
  const char* at = static_cast<const char*>(bytes);
  while (size > 0) {
    if (direct_ && (!aligned(at) || size < kDirectBlock)) use_page_cache();
    const ssize_t written = ::write(descriptor_, at, direct_ ? size - size % kDirectBlock : size);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0 && errno == EINVAL && direct_) {  // larger blocks than ours, or none
      use_page_cache();
      continue;
    }
    if (written < 0) fail("write", path_);
    at += written;
    size -= static_cast<size_t>(written);
  }
}

void DurableFile::use_page_cache() {
  if (::fcntl(descriptor_, F_SETFL, 0) != 0) fail("write", path_);
  direct_ = false;
}

void DurableFile::close() {
  failpoint("fsync", path_);
  if (::fsync(descriptor_) != 0) fail("fsync", path_);
  const int descriptor = std::exchange(descriptor_, -1);
  if (::close(descriptor) != 0) fail("close", path_);
}

void write_durably(const std::filesystem::path& path, std::string_view bytes) {
  const std::filesystem::path temporary = path.string() + ".tmp";
  try {
    DurableFile file(temporary);
    file.append(bytes.data(), bytes.size());
    file.close();
    rename_durably(temporary, path);
  } catch (...) {
    ::unlink(temporary.c_str());
    throw;
  }
}

void fsync_file(const std::filesystem::path& path) { fsync_path(path, O_RDONLY | O_CLOEXEC); }

void make_folder(const std::filesystem::path& folder, const std::string& where, const std::string& advice) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error)
    throw Error(where + ": cannot make the folder " + folder.string() + ": " + error.message() + ". " + advice,
                code_of_writing(error.value()));
}

int open_to_append(const std::filesystem::path& path) {
  const int descriptor = ::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
  if (descriptor < 0) fail("open for appending", path);
  return descriptor;
}

void fsync_directory(const std::filesystem::path& directory) {
  failpoint("fsync_directory", directory);
  fsync_path(directory.empty() ? "." : directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

void rename_durably(const std::filesystem::path& from, const std::filesystem::path& to) {
  failpoint("rename", to);
  if (::rename(from.c_str(), to.c_str()) != 0) fail("rename " + from.string() + " to", to);
  fsync_directory(to.parent_path());
}

FileBytes try_read_file(const std::filesystem::path& path) {
  constexpr size_t kPiece = 1 << 16;
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return {"", errno};
  std::string bytes, piece(kPiece, '\0');
  ssize_t got = 0;
  do {
    got = ::read(descriptor, piece.data(), piece.size());
    if (got > 0) bytes.append(piece, 0, static_cast<size_t>(got));
  } while (got > 0 || (got < 0 && errno == EINTR));
  const int number = got < 0 ? errno : 0;
  ::close(descriptor);
  if (number != 0) return {"", number};
  return {std::move(bytes), 0};
}

std::string read_file(const std::filesystem::path& path) {
  FileBytes found = try_read_file(path);
  if (found.error != 0) fail_to_read(path, found.error);
  return std::move(found.bytes);
}

}  // namespace cfm
