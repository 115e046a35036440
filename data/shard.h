#pragma once
// One HDF5 file of images: what libhdf5 says of it, then pread alone. Our own format: docs/formats.md; how others'
// files are read: read_plan.h.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "data/file_facts.h"
#include "data/read_plan.h"

namespace cfm::data {

class Shard {
 public:
  // From what libhdf5 said, wherever it ran; the file is not touched before open(). Throws Error as plan_of does.
  Shard(std::filesystem::path path, FileFacts facts);
  // Asks libhdf5 in this process, and opens: for a file that this program has just written. One thread at a time.
  explicit Shard(const std::filesystem::path& path);
  ~Shard();
  Shard(Shard&&) noexcept;

  const std::filesystem::path& path() const;
  int64_t size() const;  // images
  ImageShape image_shape() const;
  const FileFacts& facts() const;
  const ReadPlan& plan() const;
  const std::vector<int64_t>& labels() const;  // from 0 on
  // The labels are stored from 1 on: labels() gives them less one.
  void count_labels_from_one();
  // XXH3-128 of every 1024 images' bytes; empty if the file has none.
  const std::vector<std::string>& block_hashes() const { return facts().block_hashes; }
  std::string attribute(const std::string& name) const;  // text attributes of the file; empty if absent
  bool is_ours() const { return !attribute(kVersionName).empty() && !block_hashes().empty(); }

  // Opens the file, or a copy of it elsewhere, for read(). Throws Error if its size is not what it was, or if the
  // first, middle or last image differs from what libhdf5 read.
  void open();
  void open(const std::filesystem::path& copy);

  // Images first .. first + out.size()/bytes - 1, CHW bytes. Thread-safe. Throws Error naming the file on a short read.
  // REQUIRES: open(); a plan other than kOnePass.
  void read(int64_t first, std::span<uint8_t> out) const;
  // Bytes of the file from `at` on, whatever they are. REQUIRES: open().
  void read_raw(uint64_t at, std::span<uint8_t> out) const;
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
