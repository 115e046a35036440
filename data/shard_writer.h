#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>

#include "data/shard.h"

namespace cfm::data {

// Writes one shard: `imgs` uint8 (N,C,H,W) and `labels` int64 (N,), contiguous, unfiltered, data aligned to 4 KiB, text
// attributes, `xxh3` of every 1024 images, `images_xxh3_sum` (data/fingerprint.h) of all. N is fixed at the start.
// Keeps a few MB of images, whatever their size. The file appears under its name when finish() returns (written as
// path.tmp, fsynced, renamed).
class ShardWriter {
 public:
  ShardWriter(std::filesystem::path path, ImageShape shape, int64_t images,
              std::map<std::string, std::string> attributes);
  ~ShardWriter();  // unfinished: removes path.tmp
  void append(std::span<const uint8_t> image, int64_t label);
  void finish();  // Error unless exactly N images were appended

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace cfm::data
