#pragma once
// Noise to images with any velocity, at one batch shape: the network always runs at net_batch samples, a short batch is
// padded, so a sample's bits do not depend on its place, its neighbours or the number of ranks.

#include <ATen/core/Tensor.h>

#include <functional>
#include <string>

#include "flow/ode.h"
#include "flow/pixels.h"
#include "flow/velocity.h"

namespace cfm::flow {

struct SampleConfig {
  OdeConfig ode;
  int64_t net_batch = 64;
  uint64_t seed = 0;
  double sigma0 = 1;  // width of the noise to begin with: sigma0(path), as ode.t_end is t_end(path)
  std::string quantise = kQuantisations[0].name;  // flow/pixels.h
  Problems validate(const std::string& steps_flag = "--steps") const;
};

struct SampledImage {
  int64_t sample;
  at::Tensor x;      // [C,H,W] on the device: the solution at t_end
  at::Tensor bytes;  // uint8 [C,H,W] on the CPU: the image
  int64_t nfe;
};

// Samples `first` .. `first + count - 1` from noise keyed by (seed, kSampleNoise, sample), as they finish: any solver;
// rows of the batch are filled again as they become free (flow/solve.h). `device`: where v wants its input. With
// step_control batch, batches begin at `first`.
void draw_samples(const SampleVelocity& velocity, const SampleConfig& config, int64_t first, int64_t count,
                  at::IntArrayRef image_shape, c10::Device device,
                  const std::function<void(const SampledImage&)>& done);

// The same samples as uint8 [count,C,H,W] on the CPU. Batches start at multiples of net_batch, whatever `first` is.
at::Tensor sample_images(const SampleVelocity& velocity, const SampleConfig& config, int64_t first, int64_t count,
                         at::IntArrayRef image_shape, c10::Device device);

// Rank's share [first, last) of `count` samples in whole batches of net_batch, dealt as evenly as can be.
struct SampleRange {
  int64_t first, last;
};
SampleRange samples_of_rank(int64_t count, int64_t net_batch, int rank, int size);

}  // namespace cfm::flow
