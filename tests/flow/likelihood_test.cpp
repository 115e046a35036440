// Likelihoods against closed forms, float64 unless a test is about float32.
#include "flow/likelihood.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linalg_matrix_exp.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <iostream>
#include <iterator>
#include <map>
#include <numbers>
#include <vector>

#include "flow/draws.h"
#include "flow/path.h"
#include "flow/pixels.h"
#include "support/flow_tensors.h"

namespace cfm::flow {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using tests::largest_difference;
using tests::some_normals;

constexpr double kLog2 = std::numbers::ln2;

// Images of 12 bytes, [2,2,3].
at::Tensor image(int64_t number) {
  at::Tensor bytes = at::zeros({2, 2, 3}, at::kByte);
  for (int64_t i = 0; i < 12; ++i)
    bytes.mutable_data_ptr<uint8_t>()[i] = static_cast<uint8_t>((number * 53 + i * 37) % 256);
  return bytes;
}

at::Tensor dequantised(const LikelihoodConfig& config, int64_t number, int64_t k = 0) {
  const at::Tensor u =
      keyed_uniform(config.seed, Purpose::kNllDequantise, static_cast<uint64_t>(number << 16 | k), 1, {2, 2, 3});
  return to_model_space(image(number).unsqueeze(0), u)[0].to(at::kDouble);
}

LikelihoodConfig with_tolerance(double tolerance) {
  LikelihoodConfig config;
  config.ode.atol = config.ode.rtol = tolerance;
  config.seed = 17;
  config.net_batch = 3;
  config.type = at::kDouble;
  return config;
}

SampleVelocity on_all(const Velocity& v) {
  return [v](const at::Tensor& x, const at::Tensor& t, auto) { return v(x, t); };
}

// log p of draw k of image i, by (i, k).
using Densities = std::map<std::pair<int64_t, int64_t>, DrawDensity>;

Densities densities(const SampleVelocity& v, const LikelihoodConfig& config, std::vector<int64_t> images) {
  std::map<std::pair<int64_t, int64_t>, DrawDensity> found;
  size_t at = 0;
  log_densities(
      v, config, at::kCPU,
      [&]() -> std::optional<ImageDraw> {
        const auto repeats = static_cast<size_t>(config.repeats);
        if (at == images.size() * repeats) return std::nullopt;
        const int64_t number = images[at / repeats];
        return ImageDraw{number, static_cast<int64_t>(at++ % repeats), image(number)};
      },
      [&](const DrawDensity& one) {
        found[{one.image, one.k}] = one;
      });
  EXPECT_EQ(found.size(), images.size() * static_cast<size_t>(config.repeats));
  return found;
}

// The largest difference of ours from `log_p_of`, in bits/dim, over six images.
double largest_error(const SampleVelocity& v, const LikelihoodConfig& config,
                     const std::function<double(const at::Tensor& y)>& log_p_of) {
  double largest = 0;
  for (const auto& [key, one] : densities(v, config, {0, 1, 2, 3, 4, 5}))
    largest = std::max(largest, std::abs(one.log_p - log_p_of(dequantised(config, key.first))) / (12 * kLog2));
  return largest;
}

double log_normal_by_hand(const at::Tensor& y, double sigma) {
  double sum = 0;
  for (int64_t i = 0; i < y.numel(); ++i) {
    const double z = y.flatten()[i].item<double>() / sigma;
    sum += -0.5 * z * z - std::log(sigma * std::sqrt(2 * std::numbers::pi));
  }
  return sum;
}

void print_error(const char* what, double error) {
  std::cout << "          error at 1e-5, bits/dim: " << what << " " << error << "\n";
}

TEST(Likelihood, WithoutAVelocityItIsThePriors) {
  const SampleVelocity none = on_all([](const at::Tensor& x, const at::Tensor&) { return at::zeros_like(x); });
  for (const double sigma0 : {1.0, 80.0}) {
    LikelihoodConfig config = with_tolerance(1e-5);
    config.sigma0 = sigma0;
    EXPECT_LT(largest_error(none, config, [&](const at::Tensor& y) { return log_normal_by_hand(y, sigma0); }), 1e-12);
  }
  // The published value at y = 0: half of log2(2 pi), and 7.
  EXPECT_NEAR(bits_per_dimension(std::vector{log_normal(at::zeros({3, 4}, at::kDouble), 1)}, 12), 8.325748, 1e-6);
}

TEST(Likelihood, OfAFlowThatScalesIsTheClosedForm) {
  const double a = -0.7;
  const SampleVelocity v = on_all([&](const at::Tensor& x, const at::Tensor&) { return a * x; });
  const auto closed = [&](const at::Tensor& y) { return log_normal_by_hand(std::exp(-a) * y, 1) - a * 12; };
  for (const std::string kind : {"rademacher", "exact"}) {
    LikelihoodConfig config = with_tolerance(1e-7);
    config.divergence = kind;
    EXPECT_LT(largest_error(v, config, closed), 1e-7) << kind;
  }
  const double error = largest_error(v, with_tolerance(1e-5), closed);
  print_error("v = a x", error);
  EXPECT_LT(error, 1e-5);
}

TEST(Likelihood, OfALinearFlowIsTheMatrixExponentials) {
  const at::Tensor a = some_normals({12, 12}, 4) * 0.25;
  const SampleVelocity v =
      on_all([&](const at::Tensor& x, const at::Tensor&) { return x.flatten(1).matmul(a.t()).view(x.sizes()); });
  const auto closed = [&](const at::Tensor& y) {
    const at::Tensor x0 = at::linalg_matrix_exp(-a).matmul(y.flatten());
    return log_normal_by_hand(x0, 1) - a.trace().item<double>();
  };
  LikelihoodConfig config = with_tolerance(1e-8);
  config.divergence = "exact";
  EXPECT_LT(largest_error(v, config, closed), 1e-7);
  config.ode.atol = config.ode.rtol = 1e-5;
  const double error = largest_error(v, config, closed);
  print_error("v = A x", error);
  EXPECT_LT(error, 1e-5);
  // Hutchinson's estimate is constant in time here: off by z^T A z - tr A, which the test knows.
  config = with_tolerance(1e-8);
  for (const auto& [key, one] : densities(v, config, {0, 1, 2})) {
    const at::Tensor z = probe_of(config.divergence_config(), key.first, 0, {12}).to(at::kDouble);
    const double offset = z.dot(a.matmul(z)).item<double>() - a.trace().item<double>();
    EXPECT_NEAR(one.log_p, closed(dequantised(config, key.first)) - offset, 1e-5);
  }
}

// Data N(0, s^2 I) on the OT path: sigma_t^2 = t^2 s^2 + (1 - (1 - sigma_min) t)^2, and the marginal velocity is
// (sigma_t'/sigma_t) x. At t = 1 the density is N(0, s^2 + sigma_min^2).
struct GaussianData {
  double s = 0.4, sigma_min = 1e-3;
  at::Tensor variance(const at::Tensor& t) const { return (t * s).square() + (1 - (1 - sigma_min) * t).square(); }
  SampleVelocity velocity() const {
    return on_all([*this](const at::Tensor& x, const at::Tensor& t) {
      const at::Tensor slope = t * (s * s) - (1 - (1 - sigma_min) * t) * (1 - sigma_min);
      return over_images(slope / variance(t), x) * x;
    });
  }
  double log_p(const at::Tensor& y) const { return log_normal_by_hand(y, std::sqrt(s * s + sigma_min * sigma_min)); }
};

TEST(Likelihood, OfGaussianDataOnTheOtPathIsTheirOwnDensity) {
  const GaussianData data;
  const auto closed = [&](const at::Tensor& y) { return data.log_p(y); };
  EXPECT_LT(largest_error(data.velocity(), with_tolerance(1e-8), closed), 1e-7);
  double error = largest_error(data.velocity(), with_tolerance(1e-5), closed);
  print_error("Gaussian data", error);
  EXPECT_LT(error, 1e-5);
  LikelihoodConfig config = with_tolerance(1e-5);
  config.ode.step_control = "batch";
  error = largest_error(data.velocity(), config, closed);
  print_error("Gaussian data, step_control batch", error);
  EXPECT_LT(error, 1e-5);
  config = with_tolerance(1e-5);
  config.ode.error_norm = "x";
  error = largest_error(data.velocity(), config, closed);
  print_error("Gaussian data, error_norm x", error);
  EXPECT_LT(error, 1e-4);
}

TEST(Likelihood, OnFixedGridsConvergesAtTheSolversOrder) {
  const GaussianData data;
  const auto closed = [&](const at::Tensor& y) { return data.log_p(y); };
  for (const std::string& solver : solver_names()) {
    const auto error = [&](int steps, const std::string& grid) {
      LikelihoodConfig config = with_tolerance(0.5);
      config.ode = {.solver = solver, .steps = steps, .grid = grid};
      return largest_error(data.velocity(), config, closed);
    };
    const int order = tableau_named(solver).order;
    EXPECT_NEAR(std::log2(error(64, "uniform") / error(128, "uniform")), order, 0.5) << solver;
    EXPECT_LT(error(128, "warped"), order < 3 ? 0.05 : 1e-6) << solver;
  }
}

// The whole chain, the 7 included: the probabilities 2^-bpd of a pixel's 256 bytes add up to one.
TEST(Likelihood, ProbabilitiesOfAllBytesOfAPixelAddUpToOne) {
  const GaussianData data{0.25, 1e-3};
  LikelihoodConfig config = with_tolerance(1e-6);
  config.repeats = 4;
  config.net_batch = 64;
  std::map<int64_t, std::vector<double>> log_p;
  int64_t at = 0;
  log_densities(
      data.velocity(), config, at::kCPU,
      [&]() -> std::optional<ImageDraw> {
        if (at == 4 * 256) return std::nullopt;
        const int64_t byte = at / 4;
        return ImageDraw{byte, at++ % 4, at::full({1, 1, 1}, byte, at::kByte)};
      },
      [&](const DrawDensity& one) { log_p[one.image].push_back(one.log_p); });
  double sum = 0;
  for (const auto& [byte, values] : log_p) sum += std::exp2(-bits_per_dimension(values, 1));
  EXPECT_NEAR(sum, 1, 2e-3);
}

TEST(Likelihood, AveragesProbabilitiesOverTheDrawsOfAnImage) {
  const std::vector<double> log_p{-30, -31.5, -29.2};
  const double mean = (std::exp(-30) + std::exp(-31.5) + std::exp(-29.2)) / 3;
  EXPECT_NEAR(bits_per_dimension(log_p, 12), -std::log2(mean) / 12 + 7, 1e-12);
  // Far below what exp can hold.
  EXPECT_NEAR(bits_per_dimension(std::vector{-90000.0, -90000.0}, 12288), 90000 / (12288 * kLog2) + 7, 1e-12);
  EXPECT_NEAR(bits_per_dimension(std::vector{-90000.0, -95000.0}, 12288), (90000 + kLog2) / (12288 * kLog2) + 7, 1e-12);
}

TEST(Likelihood, DrawsOfAnImageDifferInTheirDequantisationAlone) {
  const GaussianData data;
  LikelihoodConfig config = with_tolerance(1e-7);
  config.repeats = 3;
  const auto found = densities(data.velocity(), config, {2, 0});
  for (const auto& [key, one] : found)
    EXPECT_NEAR(one.log_p, data.log_p(dequantised(config, key.first, key.second)), 1e-5);
  // Draw 0 is what one draw alone would give.
  const auto single = densities(data.velocity(), with_tolerance(1e-7), {2});
  EXPECT_NEAR(single.at({2, 0}).log_p, found.at({2, 0}).log_p, 1e-9);
}

// A small convolutional velocity on [2,2,3], float32 or float64; each image has a parameter of its own.
SampleVelocity convolutional() {
  const at::Tensor in = some_normals({16, 2, 3, 3}, 1) * 0.3, out = some_normals({2, 16, 3, 3}, 2) * 0.3;
  return [=](const at::Tensor& x, const at::Tensor& t, std::span<const int64_t> images) {
    const at::Tensor label =
        at::tensor(std::vector<int64_t>(images.begin(), images.end())).remainder(10).to(x.scalar_type());
    const at::Tensor hidden = at::conv2d(x, in.to(x.scalar_type()), {}, 1, 1) + factor_of(2 * t + 0.1 * label, x);
    return at::conv2d(hidden.tanh(), out.to(x.scalar_type()), {}, 1, 1);
  };
}

LikelihoodConfig in_float32(const OdeConfig& ode, int64_t net_batch) {
  LikelihoodConfig config;
  config.ode = ode;
  config.seed = 17;
  config.net_batch = net_batch;
  return config;
}

const std::vector<int64_t> kImages{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19};

TEST(Likelihood, BitsDoNotDependOnTheOrderOrTheCompanyOfTheImages) {
  for (const OdeConfig& ode :
       {OdeConfig{.solver = "dopri5", .atol = 1e-4, .rtol = 1e-4}, OdeConfig{.solver = "dp5", .steps = 3}}) {
    const auto all = densities(convolutional(), in_float32(ode, 7), kImages);
    for (const std::vector<int64_t>& images :
         {std::vector<int64_t>(kImages.rbegin(), kImages.rend()), {3, 11}, {19, 0, 5, 2, 13, 7, 8, 1}}) {
      for (const auto& [key, one] : densities(convolutional(), in_float32(ode, 7), images)) {
        EXPECT_EQ(one.log_p, all.at(key).log_p) << ode.text() << ", image " << key.first;
        EXPECT_EQ(one.nfe, all.at(key).nfe);
      }
    }
  }
}

// Of each image, by how many bits/dim two solutions differ.
std::vector<double> differences(const Densities& one, const Densities& other) {
  std::vector<double> all;
  for (const auto& [key, density] : one) all.push_back(std::abs(density.log_p - other.at(key).log_p) / (12 * kLog2));
  return all;
}

// Of each image, by how much the batch shapes 7 and 64 differ from 1.
std::vector<double> spread_over_shapes(const OdeConfig& ode) {
  std::vector<double> spread;
  const auto one = densities(convolutional(), in_float32(ode, 1), kImages);
  for (const int64_t net_batch : {7, 64})
    std::ranges::copy(differences(one, densities(convolutional(), in_float32(ode, net_batch), kImages)),
                      std::back_inserter(spread));
  return spread;
}

double rms(const std::vector<double>& values) {
  double squares = 0;
  for (const double value : values) squares += value * value;
  return std::sqrt(squares / static_cast<double>(values.size()));
}

TEST(Likelihood, OnFixedGridsBatchShapesAgreeToAMillionthOfABit) {
  for (const std::string solver : {"euler", "midpoint", "rk4", "dp5"})
    EXPECT_LT(std::ranges::max(spread_over_shapes({.solver = solver, .steps = 12, .grid = "warped"})), 1e-6) << solver;
}

// Over images: most have no spread to speak of, for they take the same steps in any batch; one that does not may differ
// by as much as two solutions err. Tolerances are well above what float32 rounds in so few dimensions.
TEST(Likelihood, OnAdaptiveStepsTheSpreadOverBatchShapesLiesBelowTheSolversError) {
  LikelihoodConfig exact = in_float32({.solver = "dopri5", .atol = 1e-10, .rtol = 1e-10}, 64);
  exact.type = at::kDouble;
  const auto reference = densities(convolutional(), exact, kImages);
  for (const double tolerance : {1e-3, 1e-4}) {
    const OdeConfig ode{.solver = "dopri5", .atol = tolerance, .rtol = tolerance};
    LikelihoodConfig wide = in_float32(ode, 64);
    wide.type = at::kDouble;  // so that rounding, which the spread is made of, has no part in it
    const double error = rms(differences(reference, densities(convolutional(), wide, kImages)));
    const std::vector<double> spread = spread_over_shapes(ode);
    const auto same = std::ranges::count_if(spread, [](double value) { return value < 1e-6; });
    std::cout << "          tolerance " << tolerance << ": rms over images, bits/dim: spread over net_batch 1, 7, 64 "
              << rms(spread) << ", error " << error << "; " << same << " of " << spread.size() << " below 1e-6\n";
    EXPECT_LT(rms(spread), error);
    EXPECT_GE(same, std::ssize(spread) / 2);
  }
}

TEST(Likelihood, WhatIsNotFiniteIsAnErrorThatNamesTheImage) {
  const SampleVelocity nan = on_all([](const at::Tensor& x, const at::Tensor&) { return x * std::nan(""); });
  LikelihoodConfig config = with_tolerance(1e-5);
  config.repeats = 2;
  EXPECT_THAT([&] { densities(nan, config, {4}); },
              testing::ThrowsMessage<Error>(AllOf(HasSubstr("sample 8"), HasSubstr("i K + k"))));
  config.ode = {.solver = "dp5", .steps = 4};
  EXPECT_THAT([&] { densities(nan, config, {4}); },
              testing::ThrowsMessage<Error>(AllOf(HasSubstr("sample 8"), HasSubstr("finite"))));
}

TEST(Likelihood, TheConfigurationNamesAllOfItsProblems) {
  EXPECT_TRUE(LikelihoodConfig{}.validate().empty());
  LikelihoodConfig config = with_tolerance(-1);
  config.repeats = 0;
  config.net_batch = 0;
  config.probes = 0;
  config.sigma0 = 0;
  EXPECT_EQ(config.validate().size(), 6U);
}

}  // namespace
}  // namespace cfm::flow
