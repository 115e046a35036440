#include "flow/divergence.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "support/flow_tensors.h"

namespace cfm::flow {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using tests::largest_difference;
using tests::some_normals;

SampleVelocity on_all(const Velocity& v) {
  return [v](const at::Tensor& x, const at::Tensor& t, auto) { return v(x, t); };
}

at::Tensor divergence_at(const SampleVelocity& v, const DivergenceConfig& config, const at::Tensor& x,
                         std::vector<int64_t> samples) {
  const at::NoGradGuard no_gradients;
  const Field field = with_divergence(v, config);
  const at::Tensor t = at::full({x.size(0)}, 0.3, x.options());
  return field.at({x, t, samples}, /*wants_rate=*/true).rate;
}

// A convolution, tanh, a convolution: [B,2,3,3], float64.
Velocity smooth_net() {
  const at::Tensor in = some_normals({6, 2, 3, 3}, 1) * 0.5, out = some_normals({2, 6, 3, 3}, 2) * 0.5;
  return [=](const at::Tensor& x, const at::Tensor& t) {
    return at::conv2d((at::conv2d(x, in, {}, 1, 1) + t.view({-1, 1, 1, 1})).tanh(), out, {}, 1, 1);
  };
}

// Central differences of every v_i along x_i.
at::Tensor trace_by_differences(const Velocity& v, const at::Tensor& x) {
  const double h = 1e-5;
  const at::Tensor t = at::full({x.size(0)}, 0.3, x.options());
  at::Tensor trace = at::zeros({x.size(0)}, at::kDouble);
  for (int64_t i = 0; i < x.numel() / x.size(0); ++i) {
    at::Tensor up = x.clone(), down = x.clone();
    up.flatten(1).select(1, i).add_(h);
    down.flatten(1).select(1, i).sub_(h);
    trace += (v(up, t) - v(down, t)).flatten(1).select(1, i) / (2 * h);
  }
  return trace;
}

TEST(Divergence, ExactIsTheTraceByFiniteDifferences) {
  const at::Tensor x = some_normals({4, 2, 3, 3}, 3);
  const at::Tensor found = divergence_at(on_all(smooth_net()), {.divergence = "exact"}, x, {0, 1, 2, 3});
  EXPECT_LT(largest_difference(found, trace_by_differences(smooth_net(), x)), 1e-8);
  EXPECT_EQ(found.scalar_type(), at::kDouble);
  EXPECT_GT(found.abs().min().item<double>(), 1e-2);
}

TEST(Divergence, HutchinsonsMeanLiesWithinFourStandardErrorsOfTheTrace) {
  constexpr int64_t kProbes = 4000;
  const at::Tensor x = some_normals({1, 2, 3, 3}, 3);
  const double trace = trace_by_differences(smooth_net(), x).item<double>();
  for (const std::string kind : {"rademacher", "gaussian"}) {
    double sum = 0, squares = 0;
    for (int64_t image = 0; image < kProbes; image += 100) {  // one probe each of a hundred images a call
      std::vector<int64_t> images;
      for (int64_t i = image; i < image + 100; ++i) images.push_back(i);
      const at::Tensor one =
          divergence_at(on_all(smooth_net()), {.divergence = kind, .seed = 5}, x.expand({100, 2, 3, 3}), images);
      sum += one.sum().item<double>();
      squares += one.square().sum().item<double>();
    }
    const double mean = sum / kProbes, error = std::sqrt((squares / kProbes - mean * mean) / kProbes);
    EXPECT_NEAR(mean, trace, 4 * error) << kind;
    EXPECT_GT(error, 1e-3) << kind;  // it is an estimate
    // Many probes of one image are their mean.
    const at::Tensor many =
        divergence_at(on_all(smooth_net()), {.divergence = kind, .probes = 1000, .seed = 5}, x, {7});
    EXPECT_NEAR(many.item<double>(), trace, 4 * error * std::sqrt(kProbes / 1000.)) << kind;
  }
}

TEST(Divergence, RademacherIsExactWhereTheJacobianIsDiagonal) {
  const at::Tensor scale = some_normals({2, 3, 3}, 4), x = some_normals({3, 2, 3, 3}, 3);
  const Velocity v = [&](const at::Tensor& at_x, const at::Tensor&) { return scale * at_x + at_x.pow(3); };
  const at::Tensor trace = scale.sum() + 3 * x.square().flatten(1).sum(1);
  EXPECT_LT(largest_difference(divergence_at(on_all(v), {.divergence = "rademacher", .seed = 1}, x, {0, 1, 2}), trace),
            1e-12);
  EXPECT_GT(largest_difference(divergence_at(on_all(v), {.divergence = "gaussian", .seed = 1}, x, {0, 1, 2}), trace),
            1e-2);
}

TEST(Divergence, ProbesAreFunctionsOfSeedImageAndProbe) {
  const DivergenceConfig config{.seed = 11};
  const at::Tensor z = probe_of(config, 3, 0, {3, 17, 5});
  EXPECT_TRUE(z.equal(probe_of(config, 3, 0, {3, 17, 5})));
  EXPECT_TRUE((z.abs() == 1).all().item<bool>());
  EXPECT_LT(std::abs(z.mean().item<double>()), 4 / std::sqrt(255));
  for (const at::Tensor& other : {probe_of(config, 4, 0, {3, 17, 5}), probe_of(config, 3, 1, {3, 17, 5}),
                                  probe_of({.seed = 12}, 3, 0, {3, 17, 5})})
    EXPECT_LT(std::abs((z * other).mean().item<double>()), 4 / std::sqrt(255));
  const at::Tensor normal = probe_of({.divergence = "gaussian", .seed = 11}, 3, 0, {64, 64});
  EXPECT_NEAR(normal.square().mean().item<double>(), 1, 4 * std::sqrt(2. / 4096));
}

TEST(Divergence, ARowHasItsImagesProbeWhereverItStandsAndAllDrawsOfAnImageShareIt) {
  const at::Tensor x = some_normals({1, 2, 3, 3}, 3);
  const DivergenceConfig config{.divergence = "gaussian", .probes = 2, .seed = 2, .samples_per_image = 5};
  const auto of = [&](std::vector<int64_t> samples) {
    return divergence_at(on_all(smooth_net()), config, x.expand({4, 2, 3, 3}), samples);
  };
  const at::Tensor a = of({0, 7, 13, 22}), b = of({14, 21, 4, 5});  // images 0 1 2 4, and 2 4 0 1
  for (const auto& [i, j] : {std::pair<int64_t, int64_t>{0, 2}, {1, 3}, {2, 0}, {3, 1}})
    EXPECT_NEAR(a[i].item<double>(), b[j].item<double>(), 1e-12);
  EXPECT_NE(a[0].item<double>(), a[1].item<double>());
  // The estimate by hand.
  const at::Tensor grad_x = x.clone().requires_grad_(true);
  double by_hand = 0;
  for (int64_t p = 0; p < 2; ++p) {
    const at::Tensor z = probe_of(config, 1, p, {2, 3, 3}).to(at::kDouble);
    const double h = 1e-5;
    const at::Tensor t = at::full({1}, 0.3, x.options());
    by_hand += ((smooth_net()(x + h * z, t) - smooth_net()(x - h * z, t)) / (2 * h) * z).sum().item<double>() / 2;
  }
  EXPECT_NEAR(a[1].item<double>(), by_hand, 1e-7);
}

TEST(Divergence, TheFieldFollowsRowsThatChangeTheirSamples) {
  const at::NoGradGuard no_gradients;
  const at::Tensor x = some_normals({2, 2, 3, 3}, 3), t = at::full({2}, 0.3, x.options());
  const Field field = with_divergence(on_all(smooth_net()), {.divergence = "gaussian"});
  const std::vector<int64_t> before{0, 1}, after{0, 9};
  const at::Tensor first = field.at({x, t, before}, true).rate, second = field.at({x, t, after}, true).rate;
  EXPECT_EQ(first[0].item<double>(), second[0].item<double>());
  EXPECT_NE(first[1].item<double>(), second[1].item<double>());
  const Field fresh = with_divergence(on_all(smooth_net()), {.divergence = "gaussian"});
  EXPECT_TRUE(fresh.at({x, t, after}, true).rate.equal(second));
}

TEST(Divergence, AVelocityThatDoesNotDependOnXHasNone) {
  const at::Tensor x = some_normals({2, 2, 3, 3}, 3);
  const Velocity constant = [&](const at::Tensor&, const at::Tensor&) { return some_normals({2, 2, 3, 3}, 8); };
  for (const std::string kind : {"rademacher", "gaussian", "exact"})
    EXPECT_TRUE(divergence_at(on_all(constant), {.divergence = kind}, x, {0, 1}).equal(at::zeros({2}, at::kDouble)));
}

TEST(Divergence, GivesTheVelocityUnchangedWithoutAGraphAndOneForwardACall) {
  const at::NoGradGuard no_gradients;
  const at::Tensor x = some_normals({2, 2, 3, 3}, 3), t = at::full({2}, 0.3, x.options());
  int calls = 0;
  std::vector<int64_t> seen;
  const SampleVelocity v = [&](const at::Tensor& at_x, const at::Tensor& at_t, std::span<const int64_t> samples) {
    ++calls;
    seen.assign(samples.begin(), samples.end());
    return smooth_net()(at_x, at_t);
  };
  const Field field = with_divergence(v, {.probes = 3, .samples_per_image = 10});
  const std::vector<int64_t> samples{25, 30};
  const Slope with = field.at({x, t, samples}, true), without = field.at({x, t, samples}, false);
  EXPECT_EQ(calls, 2);
  EXPECT_THAT(seen, ElementsAre(2, 3));  // images
  EXPECT_TRUE(with.v.equal(without.v));
  EXPECT_FALSE(with.v.requires_grad() || with.rate.requires_grad() || without.rate.defined());
  EXPECT_FALSE(x.requires_grad() || at::GradMode::is_enabled());
}

TEST(Divergence, TheConfigurationNamesItsProblems) {
  EXPECT_TRUE(DivergenceConfig{}.validate().empty());
  EXPECT_THAT((DivergenceConfig{.divergence = "sphere", .probes = 0}.validate()),
              ElementsAre(HasSubstr("--divergence=sphere"), HasSubstr("--probes=0")));
  EXPECT_THAT((DivergenceConfig{.divergence = "exact", .probes = 2}.validate()), ElementsAre(HasSubstr("--probes=2")));
}

}  // namespace
}  // namespace cfm::flow
