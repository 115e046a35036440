#pragma once
// The Inception-v3 of the FID: the network of TensorFlow's inception-2015-12-05 graph, in the names of pytorch-fid's
// public weights. It differs from torchvision's: average pools leave the padding out, the last block pools by maximum,
// 1008 classes.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace cfm::models {

inline constexpr int64_t kInceptionSize = 299;       // pixels that the network sees
inline constexpr int64_t kInceptionFeatures = 2048;  // of the FID: pool3
inline constexpr int64_t kInceptionSpatial = 2023;   // of sFID: 17 x 17 x 7

// Names and shapes of its tensors, in the network's order: X.conv.weight and
// X.bn.{weight,bias,running_mean,running_var} of each convolution, fc.{weight,bias}.
std::vector<std::pair<std::string, std::vector<int64_t>>> inception_shapes();

struct InceptionFeatures {
  at::Tensor pool;     // [B,2048]
  at::Tensor spatial;  // [B,2023]: the first 7 channels of Mixed_6d.branch1x1, a pixel's channels together
  at::Tensor logits;   // [B,1008], without the bias, as the Inception Score of ADM and torch-fidelity takes them
};

class Inception {
 public:
  // From tensors by name; float32. Batch norms (epsilon 1e-3) are folded into the convolutions in float64. Throws Error
  // naming what is missing, unexpected, of another shape, or not finite.
  explicit Inception(const std::vector<std::pair<std::string, at::Tensor>>& tensors);
  ~Inception();
  void to(c10::Device device);

  // What each block gives, by name ("Conv2d_1a_3x3", "Mixed_5b", ...): for tests.
  using Visit = std::function<void(const std::string& block, const at::Tensor& output)>;
  // images: uint8 [B,C,H,W] on the network's device, C = 1 (taken three times) or 3. Resized by tf1_bilinear, then
  // (p - 128)/128. Without gradients.
  InceptionFeatures forward(const at::Tensor& images, const Visit& visit = nullptr) const;
  // The same from what the first convolution sees: float32 [B,3,299,299].
  InceptionFeatures forward_resized(at::Tensor x, const Visit& visit = nullptr) const;

 private:
  struct Layers;
  std::unique_ptr<Layers> layers_;
};

}  // namespace cfm::models
