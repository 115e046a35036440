#pragma once
// Where images come from, whatever holds them: numbered images with a label each, in an order that is the source's own.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "data/image_file.h"

namespace cfm::packer {

struct ImageSource {
  std::string description;                         // "folder cifar10/train, 10 classes"
  std::vector<int64_t> labels;                     // one for each image
  std::vector<std::string> class_names;            // of labels 0, 1, ...; empty if the source names none
  std::vector<std::string> notes;                  // what was left out or assumed: to be said
  std::function<data::Image(int64_t)> read;        // thread-safe; throws Error naming the image if it cannot be read
  std::function<std::string(int64_t)> image_name;  // for messages
  int64_t size() const { return static_cast<int64_t>(labels.size()); }
};

// A folder, FILE.npz, or FILE.npy[,LABELS.npy].
ImageSource open_source(const std::string& source);

// A folder of class folders (labels by sorted name; images anywhere below), or of images (label 0), in the order of
// their paths. Images are files named .png, .jpg or .jpeg; others are counted in the notes. Refuses images beside class
// folders, and a class without images: labels would not mean the same in another split.
ImageSource open_folder(const std::filesystem::path& folder);

// numpy arrays: images uint8 (N,H,W), (N,H,W,C), (N,C,H,W) or planar rows (N,C*R*R), C = 1 or 3; labels (N,) or (N,1)
// of integers. In a .npz they are called images, data, x or arr_0 and labels, y or arr_1. Without labels all are 0.
ImageSource open_arrays(const std::filesystem::path& npz);
ImageSource open_arrays(const std::filesystem::path& images_npy, const std::filesystem::path& labels_npy);

}  // namespace cfm::packer
