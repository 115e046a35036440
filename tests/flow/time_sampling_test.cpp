#include "flow/time_sampling.h"

#include <ATen/TensorOperators.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numbers>
#include <set>

#include "base/philox.h"
#include "support/flow_paths.h"

namespace cfm::flow {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr int64_t kDraws = 20000;
// Kolmogorov's distribution: a right sample lies beyond this once in 2,000.
const double kFarthest = 2.03 / std::sqrt(static_cast<double>(kDraws));

std::vector<double> drawn(const TimeSampling& times, const Path& path = {}, int64_t count = kDraws) {
  const at::Tensor t =
      draw_times(times, path, 5, {.images_seen = 700, .global_batch = count, .first = 0, .count = count});
  return {t.const_data_ptr<double>(), t.const_data_ptr<double>() + count};
}

// Of samples against the density on [low, high], integrated here by midpoints on a grid that `spread` makes of [0, 1].
double farthest_from(std::vector<double> samples, const std::function<double(double)>& density,
                     const std::function<double(double)>& spread) {
  constexpr int kNodes = 200000;
  std::vector<double> at(kNodes + 1), below(kNodes + 1);
  at[0] = spread(0);
  for (int i = 1; i <= kNodes; ++i) {
    at[static_cast<size_t>(i)] = spread(static_cast<double>(i) / kNodes);
    const double from = at[static_cast<size_t>(i) - 1], to = at[static_cast<size_t>(i)];
    below[static_cast<size_t>(i)] = below[static_cast<size_t>(i) - 1] + (to - from) * density((from + to) / 2);
  }
  std::ranges::sort(samples);
  double farthest = 0;
  for (size_t i = 0; i < samples.size(); ++i) {
    const auto node = std::ranges::lower_bound(at, samples[i]) - at.begin();
    const double expected = below[static_cast<size_t>(std::min<int64_t>(node, kNodes))] / below.back();
    farthest = std::max({farthest, std::abs(expected - static_cast<double>(i) / kDraws),
                         std::abs(expected - static_cast<double>(i + 1) / kDraws)});
  }
  return farthest;
}

double normal_density(double x) { return std::exp(-x * x / 2) / std::sqrt(2 * std::numbers::pi); }

double linear(double share) { return share; }

TEST(TimeSampling, UniformTimesAreUniformUpToWhereThePathEnds) {
  for (const Path& path : tests::all_paths()) {
    const std::vector<double> t = drawn({}, path);
    EXPECT_LT(farthest_from(
                  t, [](double) { return 1; }, linear),
              kFarthest)
        << path.path;
    EXPECT_GE(*std::ranges::min_element(t), 0);
    EXPECT_LE(*std::ranges::max_element(t), t_end(path));
  }
}

TEST(TimeSampling, LogitNormalTimesHaveTheirDensity) {
  for (const auto& [mean, std] : {std::pair{0.0, 1.0}, {-0.4, 1.0}, {1.1, 0.5}}) {
    const auto density = [mean = mean, std = std](double t) {
      return normal_density((std::log(t / (1 - t)) - mean) / std) / (std * t * (1 - t));
    };
    EXPECT_LT(
        farthest_from(drawn({.time_sampling = "logit_normal", .logit_mean = mean, .logit_std = std}), density, linear),
        kFarthest);
  }
}

TEST(TimeSampling, SkewedTimesAreThoseOfLogNormalNoiseLevels) {
  // ln of EDM's noise level (1 - t)/t is N(-1.2, 1.2^2).
  const auto density = [](double t) {
    return normal_density((std::log((1 - t) / t) + 1.2) / 1.2) / (1.2 * t * (1 - t));
  };
  const std::vector<double> t = drawn({.time_sampling = "skewed"});
  EXPECT_LT(farthest_from(t, density, linear), kFarthest);
  EXPECT_GE(*std::ranges::min_element(t), 1e-4);
  EXPECT_GT(std::ranges::count_if(t, [](double time) { return time > 0.5; }), kDraws * 8 / 10);
}

TEST(TimeSampling, LikelihoodTimesHaveTheDensityOfScoreFlowsWeights) {
  const Path vp{.path = "vp"};
  std::vector<double> s = drawn({.time_sampling = "likelihood"}, vp);
  for (double& time : s) time = 1 - time;
  const auto density = [](double at) { return (0.1 + 19.9 * at) / (1 - std::exp(-(0.1 * at + 19.9 * at * at / 2))); };
  const auto by_decades = [](double share) { return std::pow(10, -5 + 5 * share); };
  EXPECT_LT(farthest_from(s, density, by_decades), kFarthest);
  EXPECT_GE(*std::ranges::min_element(s), 1e-5 * (1 - 1e-9));
  EXPECT_LE(*std::ranges::max_element(s), 1);
  double integral = 0;
  for (int i = 0; i < 100000; ++i) {
    const double from = by_decades(i / 1e5), to = by_decades((i + 1) / 1e5);
    integral += (to - from) * density((from + to) / 2);
  }
  EXPECT_NEAR(likelihood_constant(vp) / integral, 1, 1e-7);
}

TEST(TimeSampling, OfVpWithAConstantBetaHasItsDensityToo) {
  const Path vp{.path = "vp", .vp_b0 = 3, .vp_b1 = 3};
  std::vector<double> s = drawn({.time_sampling = "likelihood"}, vp);
  for (double& time : s) time = 1 - time;
  EXPECT_LT(farthest_from(
                s, [](double at) { return 3 / (1 - std::exp(-3 * at)); },
                [](double share) { return std::pow(10, -5 + 5 * share); }),
            kFarthest);
}

TEST(TimeSampling, StratifiedTimesFallOncePerPartOfAStep) {
  const int64_t G = 96;
  const TimeSampling times{.stratified = true};
  std::vector<std::vector<int64_t>> orders;
  for (const uint64_t images_seen : {uint64_t{0}, uint64_t{96}, uint64_t{1} << 40}) {
    const at::Tensor t =
        draw_times(times, {}, 5, {.images_seen = images_seen, .global_batch = G, .first = 0, .count = G});
    std::vector<int64_t> order;
    for (int64_t i = 0; i < G; ++i) order.push_back(static_cast<int64_t>(t[i].item<double>() * G));
    std::set<int64_t> parts(order.begin(), order.end());
    EXPECT_EQ(parts.size(), 96U);
    EXPECT_EQ(*parts.rbegin(), 95);
    EXPECT_FALSE(std::ranges::is_sorted(order));
    orders.push_back(order);
  }
  EXPECT_NE(orders[0], orders[1]);
  EXPECT_NE(orders[1], orders[2]);
}

TEST(TimeSampling, EachSlotMeetsEachStratumAlike) {
  const int64_t G = 8, steps = 4000;
  double squares = 0;  // chi squared of slot 0's and slot 7's strata over many steps, 7 degrees of freedom each
  for (const int64_t slot : {0, 7}) {
    std::vector<double> counts(G);
    for (int64_t step = 0; step < steps; ++step) {
      const auto seen = static_cast<uint64_t>(step * G);
      const at::Tensor t =
          draw_times({.stratified = true}, {}, 1, {.images_seen = seen, .global_batch = G, .first = slot, .count = 1});
      ++counts[static_cast<size_t>(t.item<double>() * G)];
    }
    for (const double count : counts) squares += std::pow(count - steps / G, 2) / (steps / G);
  }
  EXPECT_LT(squares, 36.1);  // beyond it once in 1,000
}

TEST(TimeSampling, TimesDoNotDependOnHowAStepIsCut) {
  for (const TimeSampling& times : {TimeSampling{}, {.stratified = true}, {.time_sampling = "logit_normal"}}) {
    const StepSlots whole{.images_seen = (uint64_t{1} << 32) - 5, .global_batch = 20, .first = 0, .count = 20};
    const at::Tensor t = draw_times(times, {}, 5, whole);
    for (int64_t first = 0; first < 20; first += 7) {
      const StepSlots part{whole.images_seen, 20, first, std::min<int64_t>(7, 20 - first)};
      EXPECT_TRUE(draw_times(times, {}, 5, part).equal(t.narrow(0, part.first, part.count)));
    }
  }
}

TEST(TimeSampling, RefusesWhatDoesNotGoTogether) {
  const Path ot, vp{.path = "vp"};
  EXPECT_TRUE(TimeSampling{}.validate(ot, "fm").empty());
  EXPECT_TRUE((TimeSampling{.time_sampling = "likelihood"}.validate(vp, "scoreflow").empty()));
  EXPECT_THAT(
      (TimeSampling{.time_sampling = "normal"}.validate(ot, "fm")),
      ElementsAre(AllOf(HasSubstr("--time_sampling=normal"), HasSubstr("uniform, logit_normal, skewed, likelihood"))));
  for (const auto& [path, objective] : {std::pair{ot, "fm"}, {vp, "sm"}, {Path{.path = "ve"}, "scoreflow"}}) {
    EXPECT_THAT(
        (TimeSampling{.time_sampling = "likelihood"}.validate(path, objective)),
        ElementsAre(AllOf(HasSubstr("--time_sampling=likelihood"), HasSubstr("--path=vp --objective=scoreflow"))));
  }
  EXPECT_THAT((TimeSampling{.time_sampling = "skewed", .stratified = true}.validate(ot, "fm")),
              ElementsAre(HasSubstr("--stratified does not go with --time_sampling=skewed")));
  EXPECT_THAT((TimeSampling{.logit_mean = std::nan(""), .logit_std = 0}.validate(ot, "fm")),
              ElementsAre(HasSubstr("--logit_mean=nan"), HasSubstr("--logit_std=0")));
}

}  // namespace
}  // namespace cfm::flow
