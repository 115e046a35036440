#pragma once
// Images that lie one after another in arrays and records of files, in one part or several.

#include <optional>
#include <string>
#include <vector>

#include "data/array_file.h"
#include "packer/image_source.h"

namespace cfm::packer {

struct ImagePart {
  std::string name;   // "array data of train_data_batch_1.npz"
  std::string words;  // of the layout, for people
  data::ImageShape shape;
  bool interleaved = false;  // HWC
  data::ByteSource bytes;    // image i begins at first + i * stride
  uint64_t first = 0, stride = 0;
  int64_t count = 0;
  std::vector<int64_t> labels = {};  // empty: the part has none
};

// Images uint8 (N,H,W), (N,H,W,C), (N,C,H,W) or planar rows (N,C*R*R), C = 1 or 3. Error naming the array if it is
// none of them, or holds no images.
ImagePart images_in(const data::ArrayFile& array, const std::string& name);

// An array of labels (N,) or (N,1); checked against the number of images, which must agree.
std::vector<int64_t> labels_in(const data::ArrayFile& array, int64_t images, const std::string& name);

// Parts of one shape, with labels of 0 and more or without any (then all are 0). Labels that go from 1 to 1000 become 0
// to 999: so the official downsampled ImageNet numbers its classes.
ImageSource source_of_parts(std::vector<ImagePart> parts, const std::string& description);

// The key of `keys` that is one of `names`, whatever its case; empty if there is none.
std::string find_key(const std::vector<std::string>& keys, const std::vector<std::string>& names);

}  // namespace cfm::packer
