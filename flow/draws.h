#pragma once
// Everything random that belongs to a training sample, as a function of (seed, draw). Host threads make it and ship it
// with the batch, so that CPU and GPU see the same numbers.

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "base/error.h"
#include "base/philox.h"

namespace cfm::flow {

// How t is drawn. kUniform: U[0,1). (Others join here.)
enum class TimeSampling { kUniform };

struct DrawConfig {
  uint64_t seed = 0;
  TimeSampling time_sampling = TimeSampling::kUniform;
  bool horizontal_flip = false;  // with probability 1/2
  double label_drop = 0;         // probability that the label becomes the null class
  int64_t null_class = -1;       // -1: none, label_drop must be 0
  Problems validate() const;
};

struct Draws {
  at::Tensor u;     // float32 [B,C,H,W] dequantisation, U[0,1)
  at::Tensor x0;    // float32 [B,C,H,W], N(0, I)
  at::Tensor t;     // float32 [B]
  at::Tensor flip;  // bool [B]
  at::Tensor drop;  // bool [B]
};

// The draws of samples first_draw .. first_draw + B - 1; image_shape is {C,H,W}. CPU tensors.
Draws make_draws(const DrawConfig& config, uint64_t first_draw, int64_t batch, at::IntArrayRef image_shape);

// Bytes to x1: flips where draws.flip, then to_model_space. bytes: uint8 [B,C,H,W]. Returns float32, on bytes' device.
at::Tensor to_x1(const at::Tensor& bytes, const Draws& draws);

// float32 [n,C,H,W]: row i is the standard normal stream (seed, purpose, first_id + i).
at::Tensor keyed_normal(uint64_t seed, Purpose purpose, uint64_t first_id, int64_t n, at::IntArrayRef image_shape);

// float32 [n,C,H,W] on [0,1), likewise.
at::Tensor keyed_uniform(uint64_t seed, Purpose purpose, uint64_t first_id, int64_t n, at::IntArrayRef image_shape);

}  // namespace cfm::flow
