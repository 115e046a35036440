#pragma once
// What is being packed: everything that decides the bytes of the shards, so that a packing that was interrupted is
// continued by the same one only.

#include <cstdint>
#include <map>
#include <string>

#include "data/shard.h"
#include "packer/image_source.h"

namespace cfm::packer {

struct PackConfig;

struct Packing {
  std::string source;             // its description
  int64_t source_images = 0;      // in all
  int64_t first = 0, images = 0;  // the range that is taken, in the source's order
  std::string names_and_labels;   // XXH3-128 of the names and labels of that range
  std::string label_map;          // JSON: class name to number
  std::string split;
  int64_t shards = 1;
  uint64_t seed = 0;
  data::ImageShape image_shape;
  std::string resize;
  int64_t grey_levels = 0;  // 0: pixels are bytes

  // What packing.json holds. Format: docs/formats.md.
  std::string json() const;
  // "seed is 1 there, 0 here": the first setting that differs from those of a packing.json; empty if none does.
  std::string difference_from(const std::string& json) const;

  std::string shard_name(int64_t shard) const;  // "train-00000-of-00064.h5"
  // Places first .. last - 1 of the shuffled range go into a shard.
  struct Places {
    int64_t first, last;
  };
  Places places_of(int64_t shard) const;
  // A shard's text attributes, but for those that its images decide.
  std::map<std::string, std::string> attributes(int64_t shard) const;
};

// Error if the source has fewer images than asked for, or fewer than shards. `image_shape` and `resize`: what the
// images are made into.
Packing packing_of(const PackConfig& config, const ImageSource& source, data::ImageShape image_shape,
                   const std::string& resize);

}  // namespace cfm::packer
