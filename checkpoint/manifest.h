#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/safetensors.h"

namespace cfm::checkpoint {

inline constexpr int kFormatVersion = 1;

// Where a run stands.
struct Progress {
  int64_t step = 0;             // steps made, skipped updates included
  int64_t images_seen = 0;      // global position of the next sample
  int64_t optimizer_steps = 0;  // updates that were applied
};

// Where a run that began from a checkpoint of another one comes from.
struct Branch {
  std::string run;            // its folder, absolute
  int64_t step = 0;           // of the checkpoint
  std::string manifest_hash;  // XXH3-128 of its manifest.json
  int64_t updates = 0;        // that its averages had seen: their warm-up is not gone through again
  bool operator==(const Branch&) const = default;
};

// manifest.json: everything about a checkpoint but its tensors. docs/formats.md has every key.
struct Manifest {
  int format_version = kFormatVersion;
  Progress progress;
  uint64_t seed = 0;
  int64_t global_batch = 0;
  int64_t data_groups = 1;
  std::string dataset_fingerprint;         // of the files
  std::string dataset_images_fingerprint;  // of the images, whatever their order; empty: not known
  std::string source_revision;
  Metadata model;      // the network's configuration
  Metadata flags;      // every flag of the run
  Metadata last_bits;  // what decides the last bits: threads, instruction set, ranks, device, LibTorch, ...
  std::optional<Branch> branched_from;
  std::vector<FileRecord> files;
};

// The text carries a hash of itself.
std::string to_json(const Manifest& manifest);
// Whether `text` is a manifest, of any format version, whose hash of itself holds.
bool manifest_is_intact(const std::string& text);
// Error names `where`, the key, and what was expected: damage, another format version, a missing or malformed value.
Manifest manifest_from_json(const std::string& text, const std::string& where);

}  // namespace cfm::checkpoint
