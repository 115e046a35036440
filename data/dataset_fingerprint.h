#pragma once
// What a data set is: which images, and in which files.

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "data/hdf5_process.h"
#include "data/shard.h"

namespace cfm::data {

// Both parts are 32 hex digits.
struct Fingerprint {
  // Of (pixels, label) of all images, whatever their order and files: data/fingerprint.h. Empty where that is not
  // known: of files that others wrote, until cfm_pack --inspect or --verify_data has read all of them.
  std::string images;
  // Of the files as they are. Our own bring a hash of every byte; of others' it is the size, all labels and fixed
  // samples.
  std::string files;
  std::string text() const { return "images " + (images.empty() ? "unknown" : images) + ", files " + files; }
  bool operator==(const Fingerprint&) const = default;
};

// Reads no more than samples of others' files; what is known of a whole file from an earlier reading is remembered
// under $XDG_CACHE_HOME/cfm/fingerprints (~/.cache), by path, size and time of change. REQUIRES: every shard that is
// not ours is open.
Fingerprint fingerprint_of(const std::vector<Shard>& shards);

// Reads all images of a file that others wrote, and remembers their part of the fingerprint. Error if an earlier
// reading of the same file, by path, size and time of change, gave another.
void learn_images_fingerprint(const Shard& shard, Hdf5Process* hdf5);

// Reads all images of a shard of ours that only libhdf5 can read any more (somebody compressed it), and compares them
// with its block hashes; Error naming the first that differs.
void verify_in_one_pass(const Shard& shard, Hdf5Process* hdf5);

// All images of any shard, in order, in pieces of CHW images: (first, pixels). One thread at a time. `hdf5`: where
// libhdf5 runs for what pread cannot serve; null: in this process.
void for_all_images(const Shard& shard, Hdf5Process* hdf5,
                    const std::function<void(int64_t, std::span<const uint8_t>)>& take);

}  // namespace cfm::data
