#pragma once
// numpy's files as sources of images: see images_in for the layouts.

#include <filesystem>
#include <vector>

#include "packer/image_source.h"

namespace cfm::packer {

// One .npz, or the parts of a set in their order, such as the official downsampled ImageNet's. The arrays are called
// images, data, x or arr_0 and labels, y or arr_1; others are left alone. Arrays stay in their files; what is deflated
// is inflated into a temporary file (a note says so).
ImageSource open_npz_images(const std::vector<std::filesystem::path>& parts, const SourceOptions& options,
                            const std::string& description);

// FILE.npy, and LABELS.npy unless that is empty.
ImageSource open_npy_images(const std::filesystem::path& images_npy, const std::filesystem::path& labels_npy);

}  // namespace cfm::packer
