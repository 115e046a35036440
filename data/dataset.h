#pragma once
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "data/shard.h"

namespace cfm::data {

// Shards as one sequence of images. Reading is thread-safe.
class Dataset {
 public:
  // `path`: a folder (all *.h5 and *.hdf5 in it, by name) or one file. Refuses, naming both files, shards whose image
  // shapes differ or that belong to different packings (split, seed, number of shards); an empty folder; a folder from
  // which shards are missing.
  static Dataset open(const std::filesystem::path& path);

  int64_t size() const { return size_; }
  ImageShape image_shape() const { return shards_.front().image_shape(); }
  int64_t num_classes() const;  // 1 + the largest label
  const std::vector<Shard>& shards() const { return shards_; }
  int64_t label(int64_t index) const;
  // One image, NCHW bytes.
  void read(int64_t index, std::span<uint8_t> out) const;
  // Several, one behind the other in the order of `indices`.
  void read(std::span<const int64_t> indices, std::span<uint8_t> out) const;
  // Reads all and compares it with the block hashes: Shard::verify of every shard. Returns the number of blocks
  // compared.
  int64_t verify() const;
  // 32 hex digits over the shards in the order of their names: sizes, shapes, labels and block hashes. It is what
  // stands in checkpoints and results. The hashes of a file that brings none are computed at open, from all of its
  // images.
  const std::string& fingerprint() const { return fingerprint_; }
  const std::filesystem::path& path() const { return path_; }

 private:
  size_t shard_of(int64_t index) const;

  std::filesystem::path path_;
  std::vector<Shard> shards_;
  std::vector<int64_t> starts_;  // of each shard, and the end
  int64_t size_ = 0;
  std::string fingerprint_;
};

}  // namespace cfm::data
