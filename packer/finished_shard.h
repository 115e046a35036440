#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "data/hdf5_process.h"
#include "packer/packing.h"

namespace cfm::packer {

// Looks whether `file` is that shard of the packing, whole: its layout and size, its labels' hash, its attributes and
// number of images; the pixels are not read. `hdf5`: where libhdf5 runs; null: in this process. Returns the names of
// the images that were left out of it. Nothing if there is no such file, or, with a warning that says why, if it is
// damaged or another's.
std::optional<std::vector<std::string>> find_finished(const std::filesystem::path& file, const Packing& packing,
                                                      int64_t shard, data::Hdf5Process* hdf5);

}  // namespace cfm::packer
