#pragma once
// ADM's U-Net [Dhariwal & Nichol, arXiv:2105.05233; guided-diffusion's UNetModel]: its switches, its state-dict names,
// its parameter counts.

#include <torch/nn/module.h>

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "models/dropout.h"

namespace cfm::models {

struct UNetConfig {
  int64_t image_size = 32;
  int64_t in_channels = 3;
  int64_t out_channels = 3;
  int64_t model_channels = 128;
  int64_t num_res_blocks = 2;
  std::vector<int64_t> channel_mult = {1, 2, 2, 2};
  std::vector<int64_t> attention_resolutions = {16};  // image sizes, as on ADM's command line
  int64_t num_heads = 4;
  int64_t num_head_channels = -1;       // overrides num_heads if set
  int64_t num_heads_upsample = -1;      // -1: num_heads
  bool use_new_attention_order = true;  // qkv rows are [all q | all k | all v]; false: per head [q|k|v]
  bool use_scale_shift_norm = true;
  bool resblock_updown = true;
  bool conv_resample = true;
  bool zero_init = true;  // the last convolution of every block and of the network starts at zero
  bool activation_checkpointing = false;
  double dropout = 0;
  int64_t num_classes = 0;   // 0: no labels
  bool null_class = false;   // one more row in the label embedding, the last: "no label", for guidance
  double time_scale = 1000;  // t in [0,1] is fed to the embedding as time_scale * t

  Problems validate() const;
  // Row that stands for "no label", -1 if there is none.
  int64_t null_label() const { return null_class ? num_classes : -1; }
};

// Text form for files' metadata: one "name": "value" each, and back (throws Error on a missing or malformed value).
std::map<std::string, std::string> to_metadata(const UNetConfig& config);
UNetConfig unet_config_from_metadata(const std::map<std::string, std::string>& metadata);

// Names and shapes of the network's parameters, in registration order, without making it.
std::vector<std::pair<std::string, std::vector<int64_t>>> parameter_shapes(const UNetConfig& config);

class UNet;

// A network whose parameters are `tensors` themselves, named and ordered as named_parameters() has them: nothing is
// drawn or copied, and what changes them changes the network. For evaluation: they get no gradients.
std::shared_ptr<UNet> network_on(const UNetConfig& config,
                                 const std::vector<std::pair<std::string, at::Tensor>>& tensors);

class UNet : public torch::nn::Module {
 public:
  // Weights are drawn by keyed Philox streams (seed, kWeights, index of the parameter) with PyTorch's default
  // distributions (Kaiming-uniform a = sqrt(5) for convolutions and linears, N(0,1) for the label embedding): the same
  // on every rank and machine.
  UNet(const UNetConfig& config, uint64_t seed);
  ~UNet() override;

  // x: [B,in,H,W], t: [B] on [0,1], labels: int64 [B] (undefined for a network without classes).
  // `dropout` is null for evaluation. Returns [B,out,H,W].
  at::Tensor forward(const at::Tensor& x, const at::Tensor& t, const at::Tensor& labels = {},
                     const DropoutKey* dropout = nullptr);
  const UNetConfig& config() const { return config_; }

 private:
  // The parameters are allocated, not filled.
  UNet(const UNetConfig& config, at::Device device);
  friend std::vector<std::pair<std::string, std::vector<int64_t>>> parameter_shapes(const UNetConfig& config);
  friend std::shared_ptr<UNet> network_on(const UNetConfig& config,
                                          const std::vector<std::pair<std::string, at::Tensor>>& tensors);

  UNetConfig config_;
  struct Layers;
  std::unique_ptr<Layers> layers_;
};

// Parameters by guided-diffusion's names, in registration order (which is theirs).
std::vector<std::pair<std::string, at::Tensor>> named_parameters(const UNet& net);
int64_t parameter_count(const UNet& net);

}  // namespace cfm::models
