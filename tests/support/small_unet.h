#pragma once
// Networks that are small enough to run in a test, with weights that are nowhere zero.

#include <ATen/ATen.h>

#include <memory>

#include "base/philox.h"
#include "models/unet.h"

namespace cfm::test {

inline models::UNetConfig small_unet_config() {
  models::UNetConfig config;
  config.image_size = 8;
  config.model_channels = 64;  // two channels a group: one alone would make biases before a norm have no effect
  config.num_res_blocks = 1;
  config.channel_mult = {1, 2};
  config.attention_resolutions = {4};
  config.num_heads = 2;
  return config;
}

// Standard normal numbers, a function of the seed.
inline at::Tensor normal(at::IntArrayRef shape, uint64_t seed) {
  at::Tensor x = at::empty(shape);
  fill_normal({x.mutable_data_ptr<float>(), static_cast<size_t>(x.numel())}, {seed, Purpose::kNoise, 0});
  return x;
}

// Times in [0, 1).
inline at::Tensor times(int64_t count, uint64_t seed) {
  at::Tensor t = at::empty({count});
  fill_uniform({t.mutable_data_ptr<float>(), static_cast<size_t>(count)}, {seed, Purpose::kTime, 0});
  return t;
}

// Every parameter moved by numbers of about 0.05, so that nothing is zero or one.
inline std::shared_ptr<models::UNet> shaken_unet(const models::UNetConfig& config, uint64_t seed = 1) {
  auto net = std::make_shared<models::UNet>(config, seed);
  const at::NoGradGuard no_grad;
  uint64_t index = 0;
  for (auto& parameter : net->parameters()) parameter.add_(0.05 * normal(parameter.sizes(), seed + ++index));
  return net;
}

}  // namespace cfm::test
