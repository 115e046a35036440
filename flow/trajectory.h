#pragma once
// Samples on their way from noise to image.

#include "flow/sampler.h"

namespace cfm::flow {

struct Trajectories {
  std::vector<double> times;  // T of them, ascending, from 0 to t_end
  at::Tensor x;               // float32 [count,T,C,H,W] on the CPU, in model space
};

// Where the samples 0 .. count - 1 of draw_samples (the same noise) stand at about intervals + 1 evenly spaced times.
// On a fixed grid: at the nodes nearest to them, at most steps + 1; the last state is draw_samples' before it becomes
// bytes, bit for bit. With dopri5: at these times exactly; each interval begins with a first step of its own.
// REQUIRES: 1 <= count <= config.net_batch, intervals >= 1. Error as solve's.
Trajectories trace_samples(const SampleVelocity& velocity, const SampleConfig& config, int64_t count, int intervals,
                           at::IntArrayRef image_shape, c10::Device device);

}  // namespace cfm::flow
