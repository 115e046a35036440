#pragma once
// Images in tar archives, where they lie: an index of the headers is made once, images are read by pread.

#include <filesystem>
#include <vector>

#include "packer/image_source.h"

namespace cfm::packer {

// A tar of images (label 0), of class folders, or of tars, each a class called as it is (n01440764.tar): what
// ILSVRC2012_img_train.tar is. A folder that holds all the rest (train/n01440764/...) is no class. Labels, order and
// refusals as in open_folder. Of members with the same path the last counts, as when they are unpacked.
ImageSource open_tar(const std::filesystem::path& tar);

// A folder's tars, each a class called as it is.
ImageSource open_class_tars(const std::vector<std::filesystem::path>& tars, const std::filesystem::path& folder);

}  // namespace cfm::packer
