#pragma once
// The blocks that models/unet.cpp stacks, with guided-diffusion's names inside.

#include <torch/nn/module.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "models/dropout.h"

namespace cfm::models {

// How a layer's numbers start.
enum class Start {
  kUniform,  // weight and bias uniform within 1/sqrt(inputs of one output): PyTorch's default for convolutions and
             // linears
  kZero,     // both 0
  kUnit,     // weight 1, bias 0: a norm
  kNormal,   // weight N(0, 1): an embedding, which has no bias
};

// "weight" and "bias" of one layer.
class Weights final : public torch::nn::Module {
 public:
  Weights(std::vector<int64_t> weight_shape, Start start, at::Device device);
  // Draws the weight from stream (seed, kWeights, index) and the bias from index + 1; index: the weight's place among
  // the network's parameters.
  void draw(uint64_t seed, uint64_t index);
  at::Tensor weight, bias;

 private:
  Start start_;
};

// h: [B,C,H,W] -> [B,O,H/stride,W/stride]; padding keeps the size.
at::Tensor convolve(const Weights& layer, const at::Tensor& h, int64_t stride = 1);
at::Tensor linear(const Weights& layer, const at::Tensor& x);

// What a block is told beside its input.
struct Conditioning {
  at::Tensor embedding;       // [B,E], SiLU applied
  const DropoutKey* dropout;  // null: none
};

class Block : public torch::nn::Module {
 public:
  virtual at::Tensor forward(const at::Tensor& h, const Conditioning& conditioning) = 0;
};

enum class Resample { kNone, kUp, kDown };

struct ResidualConfig {
  int64_t channels;
  int64_t out_channels;
  int64_t embedding_channels;
  bool scale_shift = false;
  Resample resample = Resample::kNone;
  double dropout = 0;
  uint32_t layer = 0;  // keys the dropout mask
  bool zero_init = true;
  bool checkpointing = false;
};

struct AttentionConfig {
  int64_t channels;
  int64_t heads;
  bool new_order = false;
  bool zero_init = true;
  bool checkpointing = false;
};

std::shared_ptr<Block> residual_block(const ResidualConfig& config, at::Device device);
std::shared_ptr<Block> attention_block(const AttentionConfig& config, at::Device device);
// Halves ("op") or doubles ("conv") the image, with a 3x3 convolution unless `with_convolution` is false.
std::shared_ptr<Block> resampling_block(Resample resample, int64_t channels, bool with_convolution, at::Device device);

}  // namespace cfm::models
