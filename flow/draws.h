#pragma once
// Everything random that belongs to a training sample, as a function of (seed, draw). Host threads make it and ship it
// with the batch, so that CPU and GPU see the same numbers.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>

#include "base/error.h"
#include "base/philox.h"
#include "flow/path.h"
#include "flow/time_sampling.h"

namespace cfm::flow {

struct DrawConfig {
  uint64_t seed = 0;
  Path path = {};  // says where times end
  TimeSampling times = {};
  bool horizontal_flip = false;  // with probability 1/2
  double label_drop = 0;         // probability that the label becomes the null class
  int64_t null_class = -1;       // -1: none, label_drop must be 0
  Problems validate() const;
};

struct Draws {
  at::Tensor u;     // float32 [B,C,H,W] dequantisation, U[0,1)
  at::Tensor x0;    // float32 [B,C,H,W], N(0, I)
  at::Tensor t;     // float64 [B]
  at::Tensor flip;  // bool [B]
  at::Tensor drop;  // bool [B]
};

// The draws of B slots of a step; image_shape is {C,H,W}. CPU tensors. noise_draws: the draw whose x0 each slot takes,
// B of them; empty: its own.
Draws make_draws(const DrawConfig& config, const StepSlots& slots, at::IntArrayRef image_shape,
                 std::span<const uint64_t> noise_draws = {});

// Bytes to x1: flips where draws.flip, then to_model_space. bytes: uint8 [B,C,H,W]. Returns float32, on bytes' device.
at::Tensor to_x1(const at::Tensor& bytes, const Draws& draws);

// float32 [n,C,H,W]: row i is the standard normal stream (seed, purpose, first_id + i).
at::Tensor keyed_normal(uint64_t seed, Purpose purpose, uint64_t first_id, int64_t n, at::IntArrayRef image_shape);

// float32 [n,C,H,W] on [0,1), likewise.
at::Tensor keyed_uniform(uint64_t seed, Purpose purpose, uint64_t first_id, int64_t n, at::IntArrayRef image_shape);

}  // namespace cfm::flow
