#pragma once
// Images to shuffled HDF5 shards: OUT/SPLIT/SPLIT-00000-of-00004.h5 and so on. The folder OUT/SPLIT appears when all of
// it is written and verified. The same source, range, seed and number of shards give the same bytes.

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/error.h"
#include "data/image_file.h"
#include "packer/resize.h"

namespace cfm::packer {

struct PackConfig {
  std::string source = "";  // what open_source takes
  std::filesystem::path out = "";
  std::string split = "train";
  int64_t shards = 1;
  uint64_t seed = 0;
  int64_t size = 0;  // height and width that all images must have; 0: those of the first
  Resize resize = Resize::kNone;
  int64_t channels = 0;     // 1 or 3; 0: those of the first image
  int64_t first = 0;        // of the source's order
  int64_t count = 0;        // 0: all from `first` on
  int64_t grey_levels = 0;  // 0: pixels are bytes
  int64_t threads = 0;      // that decode; 0: as many as there are cores
  bool allow_unreadable = false;
  bool overwrite = false;
  Problems validate() const;
};

struct PackReport {
  std::filesystem::path folder;  // OUT/SPLIT
  int64_t images = 0, shards = 0, classes = 0, bytes = 0;
  data::ImageShape image_shape;
  std::vector<std::string> unreadable;  // names
  std::string fingerprint;
};

// Throws Error for whatever is refused: images of differing sizes (naming two), unreadable images unless allowed (each
// is named in a warning), output that exists unless it may be overwritten.
PackReport pack(const PackConfig& config);

}  // namespace cfm::packer
