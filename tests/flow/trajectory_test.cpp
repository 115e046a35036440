#include "flow/trajectory.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <cmath>

#include "flow/draws.h"
#include "support/flow_tensors.h"

namespace cfm::flow {
namespace {

const std::vector<int64_t> kShape{1, 4, 4};
constexpr double kMean = 0.4;

at::Tensor over(const at::Tensor& t) { return t.view({-1, 1, 1, 1}); }

// The marginal OT field (sigma_min = 0) of data N(kMean, width^2 I): x_t = t kMean + s(t) x0, s^2 = t^2 width^2 +
// (1 - t)^2, so u = kMean + (s'/s)(x - t kMean).
SampleVelocity gaussian_ot(double width) {
  return [width](const at::Tensor& x, const at::Tensor& t, std::span<const int64_t>) {
    const at::Tensor variance = t * t * (width * width) + (1 - t) * (1 - t);
    const at::Tensor rate = (t * (width * width) - (1 - t)) / variance;
    return over(rate) * (x - over(t) * kMean) + kMean;
  };
}

at::Tensor noise(const SampleConfig& config, int64_t count) {
  return keyed_normal(config.seed, Purpose::kSampleNoise, 0, count, kShape);
}

void expect_closed_form(const SampleConfig& config, double width, double tolerance) {
  const Trajectories traced = trace_samples(gaussian_ot(width), config, 3, 8, kShape, at::kCPU);
  ASSERT_EQ(traced.x.sizes(), (at::IntArrayRef{3, 9, 1, 4, 4}));
  ASSERT_EQ(traced.times.size(), 9U);
  for (size_t i = 0; i < traced.times.size(); ++i) {
    const double t = traced.times[i];
    EXPECT_DOUBLE_EQ(t, static_cast<double>(i) / 8);
    const at::Tensor expected = noise(config, 3) * std::sqrt(t * t * width * width + (1 - t) * (1 - t)) + t * kMean;
    EXPECT_LT(tests::largest_difference(traced.x.select(1, static_cast<int64_t>(i)), expected), tolerance) << t;
  }
}

TEST(Trajectory, OfAGaussianFollowsTheClosedForm) {
  SampleConfig adaptive{{"dopri5"}, 5, 77};
  adaptive.ode.atol = adaptive.ode.rtol = 1e-6;
  expect_closed_form(adaptive, 0.5, 2e-5);
  expect_closed_form({{"rk4", 64, "uniform", 1}, 5, 77}, 0.5, 2e-5);
}

TEST(Trajectory, TowardsOnePointIsStraightEvenInFewSteps) {
  // width 0: u = (kMean - x)/(1 - t), every path a straight line at constant speed. Euler never asks at t = 1.
  expect_closed_form({{"euler", 8, "uniform", 1}, 5, 77}, 0, 2e-6);
}

TEST(Trajectory, EndsWhereDrawSamplesDoesBitForBitOnAGrid) {
  for (const char* const grid : {"uniform", "warped", "edm"}) {
    const SampleConfig config{{"heun2", 10, grid, 1}, 6, 3};
    const Trajectories traced = trace_samples(gaussian_ot(0.7), config, 4, 4, kShape, at::kCPU);
    EXPECT_EQ(traced.times.front(), 0);
    EXPECT_EQ(traced.times.back(), 1);
    draw_samples(gaussian_ot(0.7), config, 0, 6, kShape, at::kCPU, [&](const SampledImage& image) {
      if (image.sample >= 4) return;
      const at::Tensor end = traced.x[image.sample].select(0, -1);
      const at::Tensor bytes = ((end + 1) * 128).floor().clamp(0, 255).to(at::kByte);
      EXPECT_TRUE(bytes.equal(image.bytes)) << grid;
    });
  }
}

TEST(Trajectory, KeepsNoMoreTimesThanTheGridHas) {
  const SampleConfig config{{"euler", 3, "uniform", 1}, 2, 0};
  const Trajectories traced = trace_samples(gaussian_ot(1), config, 1, 16, kShape, at::kCPU);
  ASSERT_EQ(traced.times.size(), 4U);
  EXPECT_DOUBLE_EQ(traced.times[1], 1.0 / 3);
}

}  // namespace
}  // namespace cfm::flow
