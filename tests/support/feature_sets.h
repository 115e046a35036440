#pragma once
// Feature vectors as a network gives them: correlated, of other scales by dimension, not negative.

#include <ATen/ATen.h>

#include "base/philox.h"

namespace cfm::test {

// float32 [n,d]; a function of its arguments. `shift` moves the distribution.
inline at::Tensor feature_set(int64_t n, int64_t d, uint64_t seed, double shift = 0) {
  const auto normal = [](at::IntArrayRef shape, uint64_t key) {
    at::Tensor x = at::empty(shape, at::kFloat);
    fill_normal({x.mutable_data_ptr<float>(), static_cast<size_t>(x.numel())}, {key, Purpose::kNoise, 0});
    return x;
  };
  const at::Tensor mix = normal({d, d}, 1) / std::sqrt(static_cast<double>(d));
  const at::Tensor scale = at::linspace(0.2, 2, d);
  return at::relu(normal({n, d}, seed).mm(mix) * scale + 0.5 + shift);
}

}  // namespace cfm::test
