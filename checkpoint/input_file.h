#pragma once
// A file read by position: never mmap, where a shrinking file or an I/O error would be a SIGBUS.

#include <cstdint>
#include <filesystem>

namespace cfm::checkpoint {

// What is wrong with the file's content or absence is an Error(kWontWork); what the system refuses for now
// (permissions, descriptors, memory) is an Error(kRetry). Both name the path.
class InputFile {
 public:
  explicit InputFile(std::filesystem::path path);
  ~InputFile();
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  int64_t size() const { return size_; }
  // Fills `into` with the bytes from `offset` on. A short read is an Error: the file has shrunk.
  void read(void* into, int64_t offset, int64_t size) const;

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
  int64_t size_ = 0;
};

}  // namespace cfm::checkpoint
