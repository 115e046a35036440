#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "packer/image_fit.h"
#include "packer/image_source.h"
#include "packer/packing.h"

namespace cfm::packer {

// Makes shards, one after another, by several threads: images are read, fitted, and kept in blocks of a bounded number
// of bytes until they are written; beside them every thread holds the one image that it is at. A shard's bytes depend
// on nothing but the packing and its images.
class ShardPacker {
 public:
  // Keeps references to all three. `progress` is told often, on the calling thread, of images that have been dealt with
  // since it was last told (of 0 where they are read a second time).
  ShardPacker(const Packing& packing, const ImageSource& source, const ImageFit& fit, int64_t threads,
              std::function<void(int64_t images)> progress);

  // Packs a shard into `folder`, under its name. Returns the names of its images that cannot be read (the
  // first ten are named in a warning each, with the reason): they are left out and named in the shard's attribute if
  // that is allowed; otherwise the shard is not written. Error if an image does not belong with the others, or none of
  // the shard can be read.
  std::vector<std::string> pack(const std::filesystem::path& folder, int64_t shard, bool allow_unreadable);

 private:
  struct Loaded;
  std::vector<Loaded> load(std::span<const int64_t> ids, bool first_time) const;
  Loaded load_one(int64_t id) const;
  std::vector<int64_t> try_shard(const std::filesystem::path& file, int64_t shard, const std::vector<int64_t>& ids,
                                 const std::vector<std::string>& left_out, bool first_time);

  const Packing& packing_;
  const ImageSource& source_;
  const ImageFit& fit_;
  const int64_t threads_;
  const std::function<void(int64_t)> progress_;
  const std::vector<uint32_t> order_;  // the shuffle
  int64_t warnings_ = 0;
};

}  // namespace cfm::packer
