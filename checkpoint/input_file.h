#pragma once
// A file read by position: never mmap, where a shrinking file or an I/O error would be a SIGBUS.

#include <cstdint>
#include <filesystem>
#include <string>

namespace cfm::checkpoint {

// That the file is not there, or is none, is an Error(kWontWork); what the system refuses, and may not refuse later, is
// an Error(kRetry): permissions, an I/O error, a stale handle, descriptors, memory. Both name the path.
class InputFile {
 public:
  explicit InputFile(std::filesystem::path path);
  ~InputFile();
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  int64_t size() const { return size_; }
  // Fills `into` with the bytes from `offset` on. A short read is an Error(kRetry): the file has shrunk since it was
  // opened, and whoever opens it again sees its size as it is then.
  void read(void* into, int64_t offset, int64_t size) const;

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
  int64_t size_ = 0;
};

// All bytes of a file, with InputFile's errors.
std::string whole_file(const std::filesystem::path& path);

}  // namespace cfm::checkpoint
