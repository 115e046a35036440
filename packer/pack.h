#pragma once
// Images to shuffled HDF5 shards: OUT/SPLIT/SPLIT-00000-of-00004.h5 and so on. Finished shards collect in
// OUT/SPLIT.partial, where the same packing continues after whatever ended it; the folder OUT/SPLIT appears when all of
// it is written and verified. The same source, range, seed and number of shards give the same bytes, for any number of
// ranks, threads and starts.

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/error.h"
#include "data/dataset_fingerprint.h"
#include "data/image_file.h"
#include "packer/resize.h"
#include "parallel/mpi_session.h"

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
  int64_t threads = 0;      // of each rank; 0: its share of the cores
  bool allow_unreadable = false;
  bool overwrite = false;  // OUT/SPLIT is replaced, an OUT/SPLIT.partial of another packing is begun anew
  Problems validate() const;
  // How many images are taken of a source that has `source_images`; Error if it has not as many as are asked for.
  int64_t images_of(int64_t source_images) const;
};

// On rank 0; the other ranks know `unreadable` only.
struct PackReport {
  std::filesystem::path folder;  // OUT/SPLIT
  int64_t images = 0, shards = 0, classes = 0, bytes = 0;
  data::ImageShape image_shape;
  std::vector<std::string> unreadable;  // names, those of shards that an earlier start finished included
  data::Fingerprint fingerprint;
};

// Collective: the ranks share the shards. Throws Error for whatever is refused: images of differing sizes (naming two),
// unreadable images unless allowed (all that can be packed is, and stays for the next start), output that exists unless
// it may be overwritten, a place in which another packing was begun or is at work.
// `hdf5` opens a source of HDF5 files; null: libhdf5 does, in this process.
PackReport pack(const PackConfig& config, const parallel::MpiSession& session, data::Hdf5Process* hdf5 = nullptr);

}  // namespace cfm::packer
