#pragma once
// The convolutions of the FID's Inception-v3, as data.

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace cfm::models {

// Each is followed by a batch norm and ReLU.
struct InceptionLayer {
  std::string name;
  int64_t in, out;
  std::array<int64_t, 2> kernel;  // height, width
  int64_t stride = 1;
  bool padded = true;  // to keep the size at stride 1
  std::vector<int64_t> padding() const {
    return padded ? std::vector{kernel[0] / 2, kernel[1] / 2} : std::vector<int64_t>{0, 0};
  }
};

// In the order of pytorch-fid's modules.
std::vector<InceptionLayer> inception_layers();

}  // namespace cfm::models
