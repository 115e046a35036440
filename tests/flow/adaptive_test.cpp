#include "flow/adaptive.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/linalg_matrix_exp.h>
#include <ATen/ops/logical_and.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <valarray>

#include "flow/path.h"
#include "flow/step_size.h"
#include "support/flow_tensors.h"

namespace cfm::flow {
namespace {

using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::HasSubstr;
using tests::largest_difference;
using tests::some_normals;

OdeConfig with_tolerance(double tolerance, const std::string& step_control = "sample") {
  return {.solver = "dopri5", .atol = tolerance, .rtol = tolerance, .step_control = step_control};
}

Field field_of(const Velocity& v) {
  return {[v](const Points& points, bool) { return Slope{v(points.x, points.t), {}}; }};
}

// All samples of `x0` ([N,...]), in the order of `order`, by number.
std::map<int64_t, Solved> solve_all(const Field& field, const OdeConfig& config, const at::Tensor& x0,
                                    std::vector<int64_t> order, int64_t net_batch, double from = 0, double to = 1) {
  std::map<int64_t, Solved> solved;
  size_t at = 0;
  solve(field, config, from, to, net_batch,
        {.next = [&]() -> std::optional<Start> {
           if (at == order.size()) return std::nullopt;
           const int64_t sample = order[at++];
           return Start{sample, x0[sample]};
         },
         .done =
             [&](const Solved& one) {
               EXPECT_TRUE(solved.emplace(one.sample, one).second) << one.sample << " came twice";
             }});
  EXPECT_EQ(solved.size(), order.size());
  return solved;
}

std::vector<int64_t> first(int64_t count) {
  std::vector<int64_t> order(static_cast<size_t>(count));
  std::iota(order.begin(), order.end(), int64_t{0});
  return order;
}

// dx/dt = g'(t) A x with g = t + t^2/2.
struct LinearFlow {
  at::Tensor a_33 = at::tensor(std::vector<double>{0.3, -1.5, 0.2, 1.1, -0.4, 0.5, -0.3, 0.8, 0.1}).view({3, 3}) * 3;
  at::Tensor x0 = some_normals({5, 3}, 1);
  Field field() const {
    return field_of(
        [this](const at::Tensor& x, const at::Tensor& t) { return x.matmul(a_33.t()) * (1 + t).unsqueeze(1); });
  }
  at::Tensor solution(double t) const { return x0.matmul(at::linalg_matrix_exp(a_33 * (t + t * t / 2)).t()); }
};

TEST(Adaptive, TheErrorFollowsTheToleranceAndTheWorkItsFifthRoot) {
  const LinearFlow flow;
  std::map<double, double> nfe;
  for (const double tolerance : {1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-11}) {
    double error = 0;
    for (const auto& [sample, one] : solve_all(flow.field(), with_tolerance(tolerance), flow.x0, first(5), 2)) {
      error =
          std::max(error, largest_difference(one.x, flow.solution(1)[sample]) / (1 + one.x.abs().max().item<double>()));
      nfe[tolerance] += static_cast<double>(one.nfe) / 5;
    }
    EXPECT_LT(error, 30 * tolerance) << tolerance;
    EXPECT_GT(error, tolerance / 300) << tolerance;
  }
  // The order of the method, measured where steps are many: evaluations grow by 10^(3/5) where the tolerance falls by
  // 10^3.
  EXPECT_NEAR(nfe[1e-11] / nfe[1e-8], std::pow(10, 0.6), 0.4);
}

TEST(Adaptive, RunsBackToWhereItCameFrom) {
  const LinearFlow flow;
  for (const auto& [sample, one] :
       solve_all(flow.field(), with_tolerance(1e-10), flow.solution(1), first(5), 3, /*from=*/1, /*to=*/0))
    EXPECT_LT(largest_difference(one.x, flow.x0[sample]), 1e-7);
}

// float64, by the formulas of Hairer et al. and nothing shared but the table: the evaluations and the end of values
// that take their steps together, which is a sample, or a batch of them under batch control.
struct PlainLoop {
  using Values = std::valarray<double>;
  std::function<Values(const Values& x, double t)> v;
  double tolerance;
  bool on_a_ladder;  // steps of 2^(k/4)
  int64_t nfe = 0;
  double rounded(double h) const {
    if (!on_a_ladder) return h;
    double rung = 1024;
    while (rung > h * (1 + 1e-10)) rung *= std::sqrt(std::sqrt(0.5));
    return rung;
  }
  static double rms(const Values& values) { return std::sqrt((values * values).sum() / double(values.size())); }
  Values scale(const Values& x) const { return tolerance + tolerance * std::abs(x); }
  Values f(const Values& x, double t) { return ++nfe, v(x, t); }
  Values solve(Values x) {
    double t = 0;
    Values k_0 = f(x, 0);
    const double d0 = rms(x / scale(x)), d1 = rms(k_0 / scale(x));
    const double h0 = d0 < 1e-5 || d1 < 1e-5 ? 1e-6 : 0.01 * d0 / d1;
    const Values change = f(x + h0 * k_0, h0) - k_0;
    const double d2 = rms(change / scale(x)) / h0;
    double h = rounded(std::min(100 * h0, std::pow(0.01 / std::max(d1, d2), 0.2)));
    while (t < 1) {
      h = std::min(h, 1 - t);
      std::array<Values, 7> k{k_0};
      Values y = x, e = 0 * x;
      for (size_t i = 1; i < 7; ++i) {
        y = x;
        for (size_t j = 0; j < i; ++j) y += h * kDopri5.a[i][j] * k[j];
        k[i] = f(y, t + kDopri5.c[i] * h);
      }
      for (size_t i = 0; i < 7; ++i) e += h * kDopri5Error[i] * k[i];
      Values larger = std::abs(x);
      for (size_t i = 0; i < larger.size(); ++i) larger[i] = std::max(larger[i], std::abs(y[i]));
      const Values of_scale = e / scale(larger);
      const double ratio = rms(of_scale);
      if (ratio <= 1) t += h, x = y, k_0 = k[6];
      h = rounded(h * std::min(10.0, std::max(0.9 / std::pow(ratio, 0.2), ratio < 1 ? 1.0 : 0.2)));
    }
    return x;
  }
};

TEST(Adaptive, TakesTheStepsOfAPlainLoopWhateverItsNeighbours) {
  const auto v = [](const PlainLoop::Values& x, double t) -> PlainLoop::Values {
    return 20 * std::cos(20 * t) * x - 0.3 * x * x;
  };
  const Velocity rows = [](const at::Tensor& x, const at::Tensor& t) {
    return 20 * (20 * t).cos().unsqueeze(1) * x - 0.3 * x * x;
  };
  const at::Tensor x0 = some_normals({9, 2}, 5).abs() + 0.1;
  const auto values = [](const at::Tensor& of) {
    return PlainLoop::Values(of.const_data_ptr<double>(), static_cast<size_t>(of.numel()));
  };
  const auto expect_equal = [&](const at::Tensor& found, const PlainLoop::Values& expected) {
    const PlainLoop::Values difference = std::abs(values(found.contiguous()) - expected);
    EXPECT_LT(difference.max(), 1e-12);
  };
  for (const double tolerance : {1e-4, 1e-7}) {
    for (const auto& [sample, one] : solve_all(field_of(rows), with_tolerance(tolerance), x0, first(9), 4)) {
      PlainLoop plain{v, tolerance, true};
      expect_equal(one.x, plain.solve(values(x0[sample])));
      EXPECT_EQ(one.nfe, plain.nfe);
      EXPECT_EQ(one.nfe % 6, 2);
    }
    // As torchdiffeq controls it: the norm is over all values of a batch.
    for (const int64_t batch : {1, 3}) {
      const auto solved = solve_all(field_of(rows), with_tolerance(tolerance, "batch"), x0, first(9), batch);
      for (int64_t at = 0; at < 9; at += batch) {
        PlainLoop plain{v, tolerance, false};
        const PlainLoop::Values end = plain.solve(values(x0.narrow(0, at, batch)));
        for (int64_t i = 0; i < batch; ++i) {
          expect_equal(solved.at(at + i).x, end[std::slice(static_cast<size_t>(2 * i), 2, 1)]);
          EXPECT_EQ(solved.at(at + i).nfe, plain.nfe);
        }
      }
    }
  }
}

TEST(Adaptive, CountsEveryEvaluationOfASample) {
  int64_t calls = 0;
  const LinearFlow flow;
  const Field field{[&](const Points& points, bool wants) { return ++calls, flow.field().at(points, wants); }};
  const auto solved = solve_all(field, with_tolerance(1e-6), flow.x0, {2}, 1);
  EXPECT_EQ(solved.at(2).nfe, calls);
}

TEST(Adaptive, TheVelocityNeverSeesATimeOutsideTheTwoAndTheLastIsMetExactly) {
  for (const auto& [from, to] : {std::pair{0.0, 1 - 1e-5}, {1 - 1e-5, 0.0}, {0.3, 1e-7}}) {
    for (const double tolerance : {1e-2, 1e-6, 1e-10}) {
      double last = -1;
      const double low = std::min(from, to), high = std::max(from, to);
      const Velocity v = [&](const at::Tensor& x, const at::Tensor& t) {
        EXPECT_GE(t.min().item<double>(), low);
        EXPECT_LE(t.max().item<double>(), high);
        last = t[0].item<double>();
        return x * (10 * t).sin().unsqueeze(1);
      };
      solve_all(field_of(v), with_tolerance(tolerance), some_normals({3, 2}, 2), first(3), 1, from, to);
      EXPECT_EQ(last, to) << tolerance;
    }
  }
}

// A small convolutional velocity, float32, of odd sizes; each sample has a parameter of its own.
Field convolutional() {
  const at::Tensor in = (some_normals({8, 3, 3, 3}, 1) * 0.6).to(at::kFloat);
  const at::Tensor out = (some_normals({3, 8, 3, 3}, 2) * 0.6).to(at::kFloat);
  return {[=](const Points& points, bool) -> Slope {
    const at::Tensor label =
        at::tensor(std::vector<int64_t>(points.samples.begin(), points.samples.end())).to(at::kFloat);
    const at::Tensor hidden = at::conv2d(points.x, in, {}, 1, 1) + factor_of(points.t + 0.1 * label, points.x);
    return {at::conv2d(hidden.tanh(), out, {}, 1, 1), {}};
  }};
}

TEST(Adaptive, ASamplesBitsDoNotDependOnItsTurnItsRowOrItsNeighbours) {
  const at::Tensor x0 = some_normals({23, 3, 5, 5}, 3).to(at::kFloat);
  const OdeConfig config = with_tolerance(1e-4);
  const std::map<int64_t, Solved> all = solve_all(convolutional(), config, x0, first(23), 7);
  std::vector<int64_t> shuffled = first(23);
  std::shuffle(shuffled.begin(), shuffled.end(), std::mt19937(7));
  std::vector<int64_t> reversed(shuffled.rbegin(), shuffled.rend());
  int64_t fewest = 1000, most = 0;
  for (const auto& order : {shuffled, reversed, {22}, {5, 4}, {0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22}}) {
    for (const auto& [sample, one] : solve_all(convolutional(), config, x0, order, 7)) {
      EXPECT_TRUE(one.x.equal(all.at(sample).x)) << "sample " << sample;
      EXPECT_EQ(one.nfe, all.at(sample).nfe);
      fewest = std::min(fewest, one.nfe);
      most = std::max(most, one.nfe);
    }
  }
  EXPECT_GT(most, fewest);  // or finished rows would never have waited for others
}

TEST(Adaptive, TheNetworkAlwaysSeesOneShapeAndFreeRowsAreFilledAgain) {
  int64_t calls = 0;
  const Field inner = convolutional();
  const Field spy{[&](const Points& points, bool wants) {
    EXPECT_EQ(points.x.size(0), 4);
    EXPECT_EQ(points.samples.size(), 4U);
    return ++calls, inner.at(points, wants);
  }};
  const at::Tensor x0 =
      some_normals({41, 3, 5, 5}, 3).to(at::kFloat) * at::tensor({1.F}).expand({41}).view({41, 1, 1, 1});
  int64_t sum = 0;
  for (const auto& [sample, one] : solve_all(spy, with_tolerance(1e-5), x0, first(41), 4)) sum += one.nfe;
  // Padding at the end, and the waits of new samples for the others' last two stages.
  EXPECT_LT(static_cast<double>(4 * calls), 1.15 * static_cast<double>(sum));
}

TEST(Adaptive, WithBatchControlAllOfABatchTakeTheSameSteps) {
  const at::Tensor x0 = some_normals({10, 3, 5, 5}, 3).to(at::kFloat);
  const OdeConfig batch = with_tolerance(1e-4, "batch");
  const auto all = solve_all(convolutional(), batch, x0, first(10), 4);
  for (const auto& [sample, one] : all) EXPECT_EQ(one.nfe, all.at(sample / 4 * 4).nfe) << sample;
  // The last batch, of two, is padded: padding has no part in the norm.
  const auto pair = solve_all(convolutional(), batch, x0, {8, 9}, 4);
  EXPECT_TRUE(pair.at(9).x.equal(all.at(9).x));
  const auto pair_alone = solve_all(convolutional(), batch, x0, {8, 9}, 2);
  EXPECT_EQ(pair_alone.at(8).nfe, pair.at(8).nfe);
  EXPECT_LT(largest_difference(pair_alone.at(8).x, pair.at(8).x), 1e-5);
  // In company a sample takes other steps than alone.
  const auto alone = solve_all(convolutional(), batch, x0, {3}, 4);
  EXPECT_FALSE(alone.at(3).x.equal(all.at(3).x));
}

// Two fields that differ by 1e-7 of their values, as much as float32 rounds: nearly all samples are
// evaluated at the very same times, where steps of any length are the same for none.
TEST(Adaptive, APerturbationOfAFieldsLastBitsHardlyEverChangesASamplesSteps) {
  const LinearFlow flow;
  const at::Tensor x0 = some_normals({40, 3}, 4);
  using Times = std::map<int64_t, std::vector<double>>;
  const auto times_of = [&](double perturbation, const std::string& control) {
    Times times;
    const Field field{[&](const Points& points, bool wants) {
      times[points.samples[0]].push_back(points.t[0].item<double>());
      Slope slope = flow.field().at(points, wants);
      slope.v = slope.v + perturbation * slope.v * (1e6 * points.x).sin();
      return slope;
    }};
    solve_all(field, with_tolerance(1e-5, control), x0, first(40), 1);
    for (auto& [sample, all] : times) all[1] = 0;  // of the trial step, whose length is not rounded
    return times;
  };
  const auto same = [&](const std::string& control) {
    const Times one = times_of(0, control), other = times_of(1e-7, control);
    return std::count_if(one.begin(), one.end(),
                         [&](const auto& sample) { return other.at(sample.first) == sample.second; });
  };
  EXPECT_GE(same("sample"), 34);
  EXPECT_EQ(same("batch"), 0);
}

// dx/dt = -x beside a rate that oscillates: the steps follow the rate only if the norm looks at it.
TEST(Adaptive, TheErrorNormTakesTheRateInOrLeavesItOut) {
  const Field field{[](const Points& points, bool) -> Slope {
                      return {-points.x, (60 * points.t).sin().to(at::kDouble) * 30};
                    },
                    true};
  OdeConfig config = with_tolerance(1e-7);
  const at::Tensor x0 = some_normals({2, 4}, 1);
  const auto both = solve_all(field, config, x0, first(2), 2);
  config.error_norm = "x";
  const auto x_alone = solve_all(field, config, x0, first(2), 2);
  EXPECT_GT(both.at(0).nfe, 3 * x_alone.at(0).nfe);
  const double integral = (1 - std::cos(60.0)) / 2;
  EXPECT_NEAR(both.at(1).integral, integral, 1e-6);
  EXPECT_GT(std::abs(x_alone.at(1).integral - integral), 1e-6);
  EXPECT_NEAR(x_alone.at(0).x[0].item<double>(), x0[0][0].item<double>() * std::exp(-1.0), 1e-6);
}

TEST(Adaptive, NeverAsksForARateWhoseWeightIsZero) {
  int64_t calls = 0, rates = 0;
  const Field field{[&](const Points& points, bool wants) -> Slope {
                      ++calls;
                      rates += wants;
                      return {-points.x, wants ? points.x.squeeze(1) : at::Tensor()};
                    },
                    true};
  const auto solved = solve_all(field, with_tolerance(1e-8), some_normals({5, 1}, 1).abs() + 1, first(5), 5);
  int64_t most = 0;
  for (const auto& [sample, one] : solved) {
    most = std::max(most, one.nfe);
    EXPECT_NEAR(one.integral, one.x.item<double>() * (std::exp(1.0) - 1), 1e-7);
  }
  EXPECT_EQ(calls, most);
  EXPECT_EQ(rates, calls - (calls - 2) / 6);
}

TEST(Adaptive, AStationaryVelocityIsAnOrdinaryCase) {
  const Velocity none = [](const at::Tensor& x, const at::Tensor&) { return at::zeros_like(x); };
  const at::Tensor x0 = some_normals({3, 2}, 1);
  for (const auto& [sample, one] : solve_all(field_of(none), with_tolerance(1e-5), x0, first(3), 2))
    EXPECT_TRUE(one.x.equal(x0[sample]));
  EXPECT_TRUE(solve_all(field_of(none), with_tolerance(1e-5), x0, {}, 2).empty());
}

TEST(Adaptive, WhatCannotBeSolvedIsAnErrorThatNamesTheSample) {
  const at::Tensor x0 = some_normals({3, 2}, 1).abs() + 1;
  const auto message = [&](const Velocity& v, OdeConfig config) -> std::string {
    try {
      solve_all(field_of(v), config, x0, {1}, 2);
    } catch (const Error& error) {
      return error.what();
    }
    return "nothing was refused";
  };
  const Velocity nan = [](const at::Tensor& x, const at::Tensor&) { return x * std::nan(""); };
  EXPECT_THAT(message(nan, with_tolerance(1e-5)), AllOf(HasSubstr("sample 1"), HasSubstr("not finite")));
  const Velocity later = [](const at::Tensor& x, const at::Tensor& t) {
    return x / (t < 0.5).to(at::kDouble).unsqueeze(1);
  };
  EXPECT_THAT(message(later, with_tolerance(1e-5)), AllOf(HasSubstr("sample 1"), HasSubstr("not finite any more")));
  const Velocity explodes = [](const at::Tensor& x, const at::Tensor&) { return 3 * x * x; };
  EXPECT_THAT(message(explodes, with_tolerance(1e-9)),
              AllOf(HasSubstr("sample 1"), AnyOf(HasSubstr("finite"), HasSubstr("too small"))));
  OdeConfig few = with_tolerance(1e-12);
  few.max_nfe = 50;
  const Velocity turns = [](const at::Tensor& x, const at::Tensor& t) { return (40 * t).cos().unsqueeze(1) * x; };
  EXPECT_THAT(message(turns, few), AllOf(HasSubstr("sample 1"), HasSubstr("--max_nfe=50")));
}

// What solving all five samples says; sample 3 alone has a velocity or a rate that is not finite from t = 0.4 on.
std::string message_of_a_bad_neighbour(bool of_rate, OdeConfig config) {
  const Field field{[of_rate](const Points& points, bool wants_rate) -> Slope {
                      std::vector<double> spoilt;
                      for (const int64_t sample : points.samples) spoilt.push_back(sample == 3 ? std::nan("") : 1);
                      const at::Tensor factor = at::where(points.t > 0.4, at::tensor(spoilt, at::kDouble), 1);
                      const at::Tensor rate = of_rate ? points.x.sum(1) * factor : points.x.sum(1);
                      return {of_rate ? -points.x : -points.x * factor.unsqueeze(1), wants_rate ? rate : at::Tensor()};
                    },
                    true};
  try {
    solve_all(field, config, some_normals({5, 2}, 1), first(5), 4);
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was refused";
}

TEST(Adaptive, NamesTheSampleThatIsNotFiniteAndNotItsNeighbours) {
  for (const std::string control : {"sample", "batch"}) {
    for (const bool of_rate : {false, true})
      EXPECT_THAT(message_of_a_bad_neighbour(of_rate, with_tolerance(1e-4, control)),
                  AllOf(HasSubstr("sample 3"), HasSubstr("not finite any more")))
          << control;
  }
}

TEST(Adaptive, ARateThatIsNotFiniteIsAnErrorThoughTheNormLeavesItOut) {
  for (const std::string control : {"sample", "batch"}) {
    OdeConfig config = with_tolerance(1e-4, control);
    config.error_norm = "x";
    EXPECT_THAT(message_of_a_bad_neighbour(/*of_rate=*/true, config),
                AllOf(HasSubstr("sample 3"), HasSubstr("integral"), HasSubstr("not finite")))
        << control;
  }
}

// The trial step that the first one is chosen by ends at t = 1e-6 for a state of zeros.
TEST(Adaptive, NamesTheSampleWhoseVelocityIsNotFiniteAtTheTrialStepAlone) {
  const Field field{[](const Points& points, bool) -> Slope {
    std::vector<double> spoilt;
    for (const int64_t sample : points.samples) spoilt.push_back(sample == 1 ? std::nan("") : 1);
    const at::Tensor near_start = at::logical_and(points.t > 0, points.t < 1e-5);
    return {at::where(near_start, at::tensor(spoilt, at::kDouble), 1).unsqueeze(1).expand_as(points.x), {}};
  }};
  for (const std::string control : {"sample", "batch"}) {
    try {
      solve_all(field, with_tolerance(1e-4, control), at::zeros({3, 2}, at::kDouble), first(3), 3);
      ADD_FAILURE() << "nothing was refused";
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), AllOf(HasSubstr("sample 1"), HasSubstr("near where the ODE starts")));
    }
  }
}

TEST(Solve, AFixedGridGoesThroughTheSameQueue) {
  const at::Tensor x0 = some_normals({11, 3, 5, 5}, 3).to(at::kFloat);
  const OdeConfig config{.solver = "heun2", .steps = 4, .grid = "warped", .t_end = 0.9};
  const auto all = solve_all(convolutional(), config, x0, first(11), 4, 0.9, 0);
  for (const auto& [sample, one] : solve_all(convolutional(), config, x0, {10, 3, 4, 0, 7}, 4, 0.9, 0)) {
    EXPECT_TRUE(one.x.equal(all.at(sample).x)) << sample;
    EXPECT_EQ(one.nfe, 8);
  }
}

}  // namespace
}  // namespace cfm::flow
