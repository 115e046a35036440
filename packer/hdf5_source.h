#pragma once
#include <filesystem>

#include "packer/image_source.h"

namespace cfm::packer {

// One HDF5 file of images, or a folder of them, ours or others': what a data set can be (data/dataset.h). Files that
// only libhdf5 can read (compressed, chunks that split images) go through a temporary file, once; a note says so.
ImageSource open_hdf5(const std::filesystem::path& path, const SourceOptions& options);

}  // namespace cfm::packer
