#pragma once
// div v = trace of dv/dx, beside the velocity: exactly, or by Hutchinson's estimate. One forward and one VJP a probe.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "base/error.h"
#include "flow/field.h"
#include "flow/velocity.h"

namespace cfm::flow {

struct DivergenceConfig {
  // rademacher, gaussian: the mean over the probes z of z^T (dv/dx) z, E z z^T = I [arXiv:1810.01367 sec. 3.1; entries
  // +-1, or standard normal]; exact: the trace itself, by as many VJPs as x has numbers.
  std::string divergence = "rademacher";
  int64_t probes = 1;
  uint64_t seed = 0;
  // Whose probes a sample has: those of image sample / samples_per_image. An image's samples share its probes.
  int64_t samples_per_image = 1;
  // Probe p of image i is the stream (seed, kProbe, i * kMostProbes + p).
  static constexpr int64_t kMostProbes = 1 << 16;
  Problems validate() const;
};

// The field of v and its divergence, float64. Each row's probes are its sample's, whenever and wherever it is
// evaluated: fixed for the solve. v is called with image numbers, and must let gradients through to x alone.
Field with_divergence(const SampleVelocity& velocity, const DivergenceConfig& config);

// Probe `probe` of an image, [C,H,W] of the shape of x[0], float32 on the CPU.
at::Tensor probe_of(const DivergenceConfig& config, int64_t image, int64_t probe, at::IntArrayRef shape);

}  // namespace cfm::flow
