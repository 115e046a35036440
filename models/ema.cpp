#include "models/ema.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_lerp.h>

#include <algorithm>
#include <utility>

#include "base/number_text.h"

namespace cfm::models {

Problems EmaConfig::validate() const {
  Problems problems;
  for (size_t i = 0; i < decays.size(); ++i) {
    if (!(decays[i] >= 0 && decays[i] < 1)) {
      problems.push_back("--ema_decays: " + number_text(decays[i]) +
                         " is not in [0, 1); usual values are 0.999 to 0.99999");
    }
    if (std::find(decays.begin(), decays.begin() + static_cast<std::ptrdiff_t>(i), decays[i]) !=
        decays.begin() + static_cast<std::ptrdiff_t>(i)) {
      problems.push_back("--ema_decays: " + number_text(decays[i]) + " is given twice; each decay has one file");
    }
  }
  return problems;
}

Ema::Ema(const EmaConfig& config, const std::vector<std::pair<std::string, at::Tensor>>& parameters) : config_(config) {
  check_no_problems(config_.validate());
  const at::NoGradGuard no_grad;
  for (const auto& [name, parameter] : parameters) {
    names_.push_back(name);
    parameters_.push_back(parameter);
  }
  for (size_t i = 0; i < config_.decays.size(); ++i) {
    averages_.emplace_back();
    for (const at::Tensor& parameter : parameters_) averages_.back().push_back(parameter.detach().clone());
  }
}

void Ema::update(int64_t updates) {
  const at::NoGradGuard no_grad;
  for (size_t i = 0; i < averages_.size(); ++i) {
    at::_foreach_lerp_(averages_[i], parameters_, 1 - ema_decay_at(config_.decays[i], config_.warmup, updates));
  }
}

std::vector<std::pair<std::string, at::Tensor>> Ema::average(size_t index) const {
  std::vector<std::pair<std::string, at::Tensor>> named;
  for (size_t i = 0; i < names_.size(); ++i) named.emplace_back(names_[i], averages_.at(index)[i]);
  return named;
}

double ema_decay_at(double decay, bool warmup, int64_t updates) {
  const auto n = static_cast<double>(updates);
  return warmup ? std::min(decay, (1 + n) / (10 + n)) : decay;
}

}  // namespace cfm::models
