#pragma once
// One HDF5 shard, opened by libhdf5 for shape, type, layout and addresses, then read by pread alone. Format:
// docs/formats.md.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace cfm::data {

struct ImageShape {
  int64_t channels = 0, height = 0, width = 0;
  int64_t bytes() const { return channels * height * width; }
  bool operator==(const ImageShape&) const = default;
};

class Shard {
 public:
  // Throws Error naming the file and the dataset, what was found and what was expected: not HDF5, truncated, no `imgs`
  // or `labels`, another rank or type, lengths that differ, a layout that pread cannot serve (chunked, filtered). The
  // labels are read here, and compared with their hash if the file has one. pread is compared with libhdf5 on the
  // first, middle and last image. libhdf5 is used in here only: construct from one thread at a time.
  explicit Shard(std::filesystem::path path);
  ~Shard();
  Shard(Shard&&) noexcept;

  const std::filesystem::path& path() const;
  int64_t size() const;  // images
  ImageShape image_shape() const;
  const std::vector<int64_t>& labels() const;
  const std::vector<std::string>& block_hashes()
      const;  // XXH3-128 of every 1024 images' bytes; empty if the file has none
  std::string attribute(const std::string& name) const;  // text attributes of the file; empty if absent

  // Images first .. first + out.size()/bytes - 1, NCHW bytes. Thread-safe. Throws Error naming the file on a short
  // read.
  void read(int64_t first, std::span<uint8_t> out) const;
  // XXH3-128 of every 1024 images' bytes as they are in the file now: reads all of it.
  std::vector<std::string> compute_block_hashes() const;
  // Reads everything and compares it with block_hashes(). Returns the number of blocks, 0 if the file has no hashes;
  // throws Error naming the file and the images of the first block that differs.
  int64_t verify() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace cfm::data
