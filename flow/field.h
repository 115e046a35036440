#pragma once
// What an ODE is integrated along: a velocity, and beside it the rate of a second quantity (the divergence, for the
// likelihood). Its rows may stand at different times and belong to any samples.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <span>

namespace cfm::flow {

struct Points {
  at::Tensor x;                      // [B,...]
  at::Tensor t;                      // float64 [B], x's device: 1 - t keeps its digits near the data
  std::span<const int64_t> samples;  // [B]: which sample each row is of: labels and probes follow it
};

struct Slope {
  at::Tensor v;     // [B,...]
  at::Tensor rate;  // float64 [B], x's device: undefined where it was not asked for
};

struct Field {
  std::function<Slope(const Points& points, bool wants_rate)> at;
  bool has_rate = false;  // else the rate is never asked for
};

}  // namespace cfm::flow
