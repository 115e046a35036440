#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "checkpoint/safetensors.h"

namespace cfm::trainer {

struct OptimizerConfig {
  std::string optimizer = "adam";  // adam, adamw
  double beta1 = 0.9, beta2 = 0.999;
  double adam_eps = 1e-8;
  double weight_decay = 0;
  Problems validate() const;
};

// Adam [Kingma & Ba, arXiv:1412.6980] or AdamW [Loshchilov & Hutter, arXiv:1711.05101] by LibTorch's fused kernels: one
// pass over weights, gradients and both moments.
class Optimizer {
 public:
  Optimizer(const OptimizerConfig& config, const checkpoint::NamedTensors& parameters);
  // One update. `updates`: how many were applied before this one.
  void step(const std::vector<at::Tensor>& gradients, double lr, int64_t updates);
  checkpoint::NamedTensors exp_avg() const;
  checkpoint::NamedTensors exp_avg_sq() const;

 private:
  OptimizerConfig config_;
  std::vector<std::string> names_;
  std::vector<at::Tensor> parameters_, exp_avg_, exp_avg_sq_, steps_;
};

// The 2-norm over all gradients, in float32 sums of squares. Synchronises with the device.
double gradient_norm(const std::vector<at::Tensor>& gradients);

// Scales gradients so that their norm is at most clip_norm (0: leaves them), as torch.nn.utils.clip_grad_norm_ does.
void clip_gradients(const std::vector<at::Tensor>& gradients, double norm, double clip_norm);

}  // namespace cfm::trainer
