#include "models/mlp.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cos.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/sin.h>

#include <numbers>
#include <string>

#include "base/shape.h"

namespace cfm::models {
namespace {

// cat[cos, sin](k pi t), k = 1 .. frequencies. t: [B]; returns [B, 2 frequencies].
at::Tensor time_features(const at::Tensor& t, int64_t frequencies) {
  const at::Tensor angles = t.unsqueeze(1) * (at::arange(1, frequencies + 1, t.options()) * std::numbers::pi);
  return at::cat({at::cos(angles), at::sin(angles)}, 1);
}

}  // namespace

Problems MlpConfig::validate() const {
  Problems problems;
  const auto at_least = [&problems](const std::string& name, int64_t value, int64_t least) {
    if (value < least)
      problems.push_back("--" + name + "=" + std::to_string(value) + ": expected at least " + std::to_string(least) +
                         ".");
  };
  at_least("dimensions", dimensions, 1);
  at_least("width", width, 1);
  at_least("layers", layers, 2);
  at_least("time_frequencies", time_frequencies, 1);
  return problems;
}

Mlp::Mlp(const MlpConfig& config, uint64_t seed) : config_(config) {
  check_no_problems(config_.validate());
  for (int64_t i = 0; i < config_.layers; ++i) {
    const bool first = i == 0, last = i + 1 == config_.layers;
    const int64_t inputs = first ? config_.dimensions + 2 * config_.time_frequencies : config_.width;
    const std::vector<int64_t> shape{last ? config_.dimensions : config_.width, inputs};
    layers_.push_back(
        register_module(std::to_string(2 * i),
                        std::make_shared<Weights>(shape, last ? Start::kZero : Start::kUniform, at::Device(at::kCPU))));
    layers_.back()->draw(seed, static_cast<uint64_t>(2 * i));
  }
}

at::Tensor Mlp::forward(const at::Tensor& x, const at::Tensor& t) const {
  check_shape(x, {-1, config_.dimensions}, "x");
  check_shape(t, {x.size(0)}, "t");
  at::Tensor h = at::cat({x, time_features(t.to(x.scalar_type()), config_.time_frequencies)}, 1);  // [B, D + 2K]
  h = linear(*layers_.front(), h);
  for (size_t i = 1; i < layers_.size(); ++i) h = linear(*layers_[i], at::silu(h));
  return h;
}

}  // namespace cfm::models
