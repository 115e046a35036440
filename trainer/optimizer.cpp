#include "trainer/optimizer.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/_fused_adam.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros_like.h>

#include "base/number_text.h"

namespace cfm::trainer {
namespace {

checkpoint::NamedTensors named(const std::vector<std::string>& names, const std::vector<at::Tensor>& tensors) {
  checkpoint::NamedTensors result;
  for (size_t i = 0; i < names.size(); ++i) result.emplace_back(names[i], tensors[i]);
  return result;
}

}  // namespace

Problems OptimizerConfig::validate() const {
  Problems problems;
  if (optimizer != "adam" && optimizer != "adamw")
    problems.push_back("--optimizer=" + optimizer + ": there are adam, adamw");
  if (!(beta1 >= 0 && beta1 < 1)) problems.push_back("--beta1=" + number_text(beta1) + ": must lie in [0, 1)");
  if (!(beta2 >= 0 && beta2 < 1)) problems.push_back("--beta2=" + number_text(beta2) + ": must lie in [0, 1)");
  if (!(adam_eps > 0)) problems.push_back("--adam_eps=" + number_text(adam_eps) + ": must be positive");
  if (!(weight_decay >= 0))
    problems.push_back("--weight_decay=" + number_text(weight_decay) + ": must not be negative");
  return problems;
}

Optimizer::Optimizer(const OptimizerConfig& config, const checkpoint::NamedTensors& parameters) : config_(config) {
  const at::NoGradGuard no_grad;
  for (const auto& [name, parameter] : parameters) {
    names_.push_back(name);
    parameters_.push_back(parameter);
    exp_avg_.push_back(at::zeros_like(parameter.detach()));
    exp_avg_sq_.push_back(at::zeros_like(parameter.detach()));
    steps_.push_back(at::full({}, 0.0, parameter.options().dtype(at::kFloat).requires_grad(false)));
  }
}

void Optimizer::step(const std::vector<at::Tensor>& gradients, double lr, int64_t updates) {
  const at::NoGradGuard no_grad;
  for (at::Tensor& count : steps_) count.fill_(static_cast<double>(updates + 1));
  const auto update = [&](const auto& fused) {
    fused(parameters_, gradients, exp_avg_, exp_avg_sq_, std::vector<at::Tensor>{}, steps_, lr, config_.beta1,
          config_.beta2, config_.weight_decay, config_.adam_eps, /*amsgrad=*/false, /*maximize=*/false);
  };
  if (config_.optimizer == "adamw") {
    update([](const auto&... arguments) { at::_fused_adamw_(arguments...); });
  } else {
    update([](const auto&... arguments) { at::_fused_adam_(arguments...); });
  }
}

checkpoint::NamedTensors Optimizer::exp_avg() const { return named(names_, exp_avg_); }
checkpoint::NamedTensors Optimizer::exp_avg_sq() const { return named(names_, exp_avg_sq_); }

double gradient_norm(const std::vector<at::Tensor>& gradients) {
  const at::NoGradGuard no_grad;
  return at::linalg_vector_norm(at::stack(at::_foreach_norm(gradients, 2)), 2).item<double>();
}

void clip_gradients(const std::vector<at::Tensor>& gradients, double norm, double clip_norm) {
  if (clip_norm <= 0 || norm <= clip_norm) return;
  const at::NoGradGuard no_grad;
  at::_foreach_mul_(gradients, clip_norm / (norm + 1e-6));
}

}  // namespace cfm::trainer
