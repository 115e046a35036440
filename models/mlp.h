#pragma once
// A velocity network for points of a few dimensions: linear layers with SiLU between them. [arXiv:2210.02747v2 app. E:
// "5 layers with 512 neurons in each layer" for the 2-D checkerboard]

#include <torch/nn/module.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "base/error.h"
#include "models/blocks.h"

namespace cfm::models {

struct MlpConfig {
  int64_t dimensions = 2;  // D, of a point
  int64_t width = 512;     // of every hidden layer
  int64_t layers = 5;      // linear layers, the last included
  // K: the first layer sees x, cos(k pi t) and sin(k pi t), k = 1 .. K
  int64_t time_frequencies = 8;
  Problems validate() const;
};

class Mlp : public torch::nn::Module {
 public:
  // Weights are drawn by keyed Philox streams (seed, kWeights, index of the parameter) with PyTorch's default
  // distribution; the last layer starts at zero. Parameters are named as torch.nn.Sequential(Linear, SiLU, Linear, ...)
  // names them: 0.weight, 0.bias, 2.weight, ...
  Mlp(const MlpConfig& config, uint64_t seed);

  // x: [B,D], t: [B] on [0,1]. Returns [B,D], in x's dtype (the weights').
  at::Tensor forward(const at::Tensor& x, const at::Tensor& t) const;
  const MlpConfig& config() const { return config_; }

 private:
  MlpConfig config_;
  std::vector<std::shared_ptr<Weights>> layers_;
};

}  // namespace cfm::models
