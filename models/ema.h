#pragma once
#include <ATen/core/Tensor.h>

#include <string>
#include <utility>
#include <vector>

#include "base/error.h"

namespace cfm::models {

// Exponential moving averages of the weights, several decays at once, each with the warm-up min(d, (1 + n)/(10 + n))
// for the n-th update (n = 0 is the first).
struct EmaConfig {
  std::vector<double> decays = {0.9999};
  bool warmup = true;
  Problems validate() const;
};

class Ema {
 public:
  // Starts as a copy of the parameters.
  Ema(const EmaConfig& config, const std::vector<std::pair<std::string, at::Tensor>>& parameters);
  // average <- decay * average + (1 - decay) * parameter. `updates`: how many there have been before this one.
  void update(int64_t updates);
  const std::vector<double>& decays() const { return config_.decays; }
  // The averages of one decay, named as the parameters.
  std::vector<std::pair<std::string, at::Tensor>> average(size_t index) const;

 private:
  EmaConfig config_;
  std::vector<std::string> names_;
  std::vector<at::Tensor> parameters_;
  std::vector<std::vector<at::Tensor>> averages_;
};

double ema_decay_at(double decay, bool warmup, int64_t updates);

}  // namespace cfm::models
