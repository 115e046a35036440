#pragma once
#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <functional>
#include <memory>

#include "data/loader.h"
#include "flow/draws.h"
#include "trainer/coupled_noise.h"

namespace cfm::trainer {

// A micro-batch as the path and the network want it, on the device.
struct TrainingBatch {
  at::Tensor x1;      // float32 [B,C,H,W]: flipped, dequantised, in model space
  at::Tensor x0;      // float32 [B,C,H,W]
  at::Tensor t;       // float64 [B]
  at::Tensor labels;  // int64 [B], null class where dropped; undefined for a network without classes
};

// What the loader's threads run on each batch: fills batch.extra with its flow::Draws.
std::function<void(data::Batch&)> draw_maker(const flow::DrawConfig& config, int64_t global_batch,
                                             std::shared_ptr<CoupledNoise> noise);

// batch.extra must hold flow::Draws. `labelled`: whether the network takes labels.
TrainingBatch to_training_batch(const data::Batch& batch, const flow::DrawConfig& config, bool labelled,
                                c10::Device device);

// x in the memory format of the weights.
at::Tensor in_format(const at::Tensor& x, bool channels_last);

}  // namespace cfm::trainer
