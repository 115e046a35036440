#pragma once
// The loss by the time t at which the network is asked: where on the way from noise to image it is good, where not.

#include <ATen/core/Tensor.h>

#include <array>

namespace cfm::trainer {

inline constexpr int kTimeBins = 10;

// By bin: b has t/t_end in [b/10, (b+1)/10).
using ByTime = std::array<double, kTimeBins>;

// Sums of losses and numbers of images by bin, float64 [2, kTimeBins], on the device of `losses` [B] and t [B]. Waits
// for nothing; the same bits every time.
at::Tensor losses_by_time(const at::Tensor& losses, const at::Tensor& t, double t_end);

// Of a rank's part of a step.
struct StepLosses {
  double sum = 0;
  ByTime by_time{}, images{};  // sums, and of how many images
};

// By one copy from the device. `by_time`: the sum of what losses_by_time gave.
StepLosses on_host(const at::Tensor& loss_sum, const at::Tensor& by_time);

}  // namespace cfm::trainer
