#pragma once
// What libhdf5 says about a shard: everything that it is asked for, so that reading needs it no more. Private to data/.

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "data/shard.h"

namespace cfm::data {

constexpr const char* kImagesName = "imgs";
constexpr const char* kLabelsName = "labels";
constexpr const char* kHashesName = "xxh3";             // dataset of 32-character strings, one for each block
constexpr const char* kLabelsHashName = "labels_xxh3";  // attribute: XXH3-128 of the labels as int64 little-endian
constexpr const char* kVersionName = "format_version";  // attribute
constexpr const char* kFormatVersion = "1";
constexpr int64_t kBlockImages = 1024;  // images that one hash covers

inline int64_t block_count(int64_t images) { return (images + kBlockImages - 1) / kBlockImages; }

struct ShardLayout {
  struct Probe {
    int64_t image;
    std::vector<uint8_t> pixels;
  };
  int64_t images = 0;
  ImageShape shape;
  uint64_t offset = 0;  // of the first image's first byte in the file
  std::vector<int64_t> labels;
  std::vector<std::string> block_hashes;
  std::map<std::string, std::string> attributes;
  std::vector<Probe> probes;  // first, middle and last image as libhdf5 reads them
};

// Throws Error as Shard's constructor promises. `file_bytes`: the file's size now.
ShardLayout read_layout(const std::filesystem::path& path, uint64_t file_bytes);

}  // namespace cfm::data
