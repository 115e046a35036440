#pragma once
// A small classifier of the 8x8 handwritten digits (configs/digits), whose last hidden layer gives features for a
// Frechet distance where the FID's network is not at hand, or says little: "FID-digits". Trained by
// scripts/train_digit_features.py. Few enough dimensions that a thousand images give a covariance of full rank.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace cfm::models {

inline constexpr int64_t kDigitFeatures = 32;
inline constexpr int64_t kDigitSize = 8;  // pixels

// Names and shapes of its tensors.
std::vector<std::pair<std::string, std::vector<int64_t>>> digit_shapes();

struct DigitFeatures {
  at::Tensor features;  // [B,32]
  at::Tensor logits;    // [B,10]
};

// Three 3x3 convolutions (stride 1, 2, 1) and two linear layers, SiLU between them; features are taken before the SiLU.
class DigitClassifier {
 public:
  // From tensors by name; float32. Throws Error naming what is missing, unexpected, of another shape, or not finite.
  explicit DigitClassifier(const std::vector<std::pair<std::string, at::Tensor>>& tensors);
  void to(c10::Device device);
  // images: uint8 [B,1,8,8], fed as (p - 128)/128. Without gradients.
  DigitFeatures forward(const at::Tensor& images) const;

 private:
  struct Layer {
    at::Tensor weight, bias;
  };
  std::vector<Layer> layers_;  // conv1, conv2, conv3, features, logits
};

}  // namespace cfm::models
