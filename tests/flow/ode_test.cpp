#include "flow/ode.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/linalg_matrix_exp.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "support/flow_tensors.h"

namespace cfm::flow {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::Ge;
using ::testing::HasSubstr;
using ::testing::Le;
using tests::largest_difference;
using tests::some_normals;

// dx/dt = g'(t) A x with g = t + t^2/2 has the solution exp(g(t) A) x(0): stages and times both count.
struct LinearFlow {
  at::Tensor a_33 = at::tensor(std::vector<double>{0.3, -1.5, 0.2, 1.1, -0.4, 0.5, -0.3, 0.8, 0.1}).view({3, 3});
  at::Tensor x0 = some_normals({4, 3}, 1);
  Velocity velocity() const {
    return [this](const at::Tensor& x, const at::Tensor& t) { return x.matmul(a_33.t()) * (1 + t).unsqueeze(1); };
  }
  at::Tensor solution(double t) const { return x0.matmul(at::linalg_matrix_exp(a_33 * (t + t * t / 2)).t()); }
};

TEST(Ode, EverySolverConvergesToTheMatrixExponentialAtItsOrder) {
  const LinearFlow flow;
  for (const std::string& name : solver_names()) {
    for (const std::string grid : {"uniform", "warped"}) {
      const auto error = [&](int steps) {
        const OdeConfig config{name, steps, grid, 0.9};
        return largest_difference(integrate_fixed(flow.velocity(), flow.x0, tableau_named(name), time_grid(config)).x,
                                  flow.solution(0.9));
      };
      const double order = std::log2(error(80) / error(160));
      EXPECT_NEAR(order, tableau_named(name).order, 0.1) << name << " on the " << grid << " grid";
      EXPECT_LT(error(160), 0.05) << name;
      RecordProperty("order_of_" + name + "_" + grid, std::to_string(order));
    }
  }
}

TEST(Ode, RunsBackwardsOverDescendingTimes) {
  const LinearFlow flow;
  std::vector<double> times = time_grid({"rk4", 100, "uniform", 1});
  std::reverse(times.begin(), times.end());
  EXPECT_LT(largest_difference(integrate_fixed(flow.velocity(), flow.solution(1), kRk4, times).x, flow.x0), 1e-6);
}

TEST(Ode, CountsEveryCallOfTheVelocity) {
  for (const std::string& name : solver_names()) {
    int64_t calls = 0;
    const Velocity v = [&](const at::Tensor& x, const at::Tensor&) { return ++calls, -x; };
    const OdeConfig config{name, 7, "uniform", 1};
    const OdeResult result = integrate_fixed(v, some_normals({2, 3}, 1), tableau_named(name), time_grid(config));
    EXPECT_EQ(result.nfe, calls) << name;
    const int64_t stages = name == "euler" ? 1 : name.starts_with("rk4") ? 4 : name == "dp5" ? 6 : 2;
    EXPECT_EQ(calls, 7 * stages) << name;
    EXPECT_EQ(config.fixed_nfe(), calls) << name;
  }
}

TEST(Ode, GridsBeginAtZeroAndEndAtTheEndExactly) {
  for (const double t_end : {1.0, 1 - 1e-5, 0.3}) {
    for (const std::string grid : {"uniform", "warped", "edm"}) {
      for (int steps = 1; steps < 200; ++steps) {
        const std::vector<double> times = time_grid({"euler", steps, grid, t_end});
        ASSERT_EQ(times.size(), static_cast<size_t>(steps) + 1);
        ASSERT_EQ(times.front(), 0);
        ASSERT_EQ(times.back(), t_end);
        ASSERT_TRUE(std::is_sorted(times.begin(), times.end()));
      }
    }
  }
  EXPECT_THAT(time_grid({"euler", 4, "uniform", 1}), testing::ElementsAre(0, 0.25, 0.5, 0.75, 1));
  EXPECT_THAT(time_grid({"euler", 4, "warped", 1}), testing::ElementsAre(0, 0.4375, 0.75, 0.9375, 1));
}

// The noise levels that EDM's own code prints for 18 steps.
TEST(Ode, TheEdmGridStandsAtEdmsNoiseLevels) {
  const std::vector<double> levels{80,     57.5860, 40.7856, 28.3748, 19.3531, 12.9098, 8.4009, 5.3150, 3.2572,
                                   1.9233, 1.0885,  0.5853,  0.2964,  0.1396,  0.0599,  0.0229, 0.0075, 0.0020};
  const std::vector<double> times = time_grid({"euler", 18, "edm", 1});
  for (size_t i = 1; i < levels.size(); ++i) EXPECT_NEAR(times[i], 1 / (1 + levels[i]), 1e-4) << i;
  EXPECT_EQ(times.front(), 0);
  EXPECT_EQ(times.back(), 1);
  EXPECT_THAT(time_grid({"euler", 1, "edm", 0.5}), testing::ElementsAre(0, 0.5));
}

// d(integral)/dt = t^2 |x|, beside dx/dt = x: x = x0 e^t, the integral is |x0| (e - 2) at t = 1.
TEST(Ode, IntegratesTheFieldsRateAlongTheSolutionAtTheSolversOrder) {
  const at::Tensor x0 = some_normals({4, 1}, 3);
  int asked = 0;
  const Field field{[&](const Points& points, bool wants_rate) -> Slope {
                      if (!wants_rate) return {points.x, {}};
                      ++asked;
                      return {points.x, (points.t.square() * points.x.squeeze(1).abs()).to(at::kDouble)};
                    },
                    true};
  for (const std::string& name : solver_names()) {
    const Tableau& method = tableau_named(name);
    const auto error = [&](int steps) {
      const OdeResult result = integrate_fixed(field, x0, {}, method, time_grid({name, steps, "uniform", 1}));
      return largest_difference(result.integral, x0.squeeze(1).abs() * (std::exp(1.0) - 2));
    };
    EXPECT_NEAR(std::log2(error(32) / error(64)), method.order, 0.15) << name;
    asked = 0;
    error(1);
    EXPECT_EQ(asked, std::count_if(method.b.begin(), method.b.end(), [](double b) { return b != 0; })) << name;
  }
}

// Elements of odd rows, in vectors and in what is left over at their ends.
TEST(Ode, ARowsBitsDoNotDependOnItsPlace) {
  const at::Tensor x = some_normals({7, 3, 5, 5}, 4).to(at::kFloat);
  const Velocity v = [](const at::Tensor& at_x, const at::Tensor&) { return at_x.tanh() - at_x * 0.7; };
  const at::Tensor all = integrate_fixed(v, x, kDp5, {0, 0.3, 1}).x;
  for (int64_t shift = 1; shift < 7; ++shift)
    EXPECT_TRUE(integrate_fixed(v, x.roll(shift, 0), kDp5, {0, 0.3, 1}).x.roll(-shift, 0).equal(all)) << shift;
}

TEST(Ode, TheVelocityNeverSeesATimeOutsideTheGrid) {
  for (const std::string& name : solver_names()) {
    for (int steps = 1; steps < 100; ++steps) {
      std::vector<double> seen;
      const Velocity v = [&](const at::Tensor& x, const at::Tensor& t) {
        EXPECT_EQ(t.sizes(), at::IntArrayRef{2});
        EXPECT_EQ(t.scalar_type(), at::kDouble);
        seen.push_back(t[1].item<double>());
        return x;
      };
      integrate_fixed(v, some_normals({2, 3}, 1), tableau_named(name), time_grid({name, steps, "uniform", 0.7}));
      ASSERT_EQ(seen.front(), 0);
      ASSERT_THAT(seen, Each(AllOf(Ge(0.0), Le(0.7))));
      const bool last_stage_is_at_the_end = name != "euler" && name != "midpoint";
      ASSERT_TRUE(!last_stage_is_at_the_end || seen.back() == 0.7);
    }
  }
}

TEST(Ode, LeavesItsInputAndWhatTheVelocityReturnedAsTheyAre) {
  const at::Tensor x = some_normals({2, 3}, 1), constant = some_normals({2, 3}, 2);
  const at::Tensor x_before = x.clone(), constant_before = constant.clone();
  const Velocity v = [&](const at::Tensor&, const at::Tensor&) { return constant; };
  EXPECT_LT(largest_difference(integrate_fixed(v, x, kRk4, {0, 0.5, 1}).x, x_before + constant_before), 1e-15);
  const Velocity itself = [](const at::Tensor& at_x, const at::Tensor&) { return at_x; };
  EXPECT_LT(largest_difference(integrate_fixed(itself, x, kRk4, {0, 1}).x, x_before * (1 + 1 + 0.5 + 1. / 6 + 1. / 24)),
            1e-14);
  EXPECT_TRUE(x.equal(x_before));
  EXPECT_TRUE(constant.equal(constant_before));
}

TEST(Ode, KeepsTheTypeOfTheStateAndMakesNoGraph) {
  const at::Tensor weight = at::tensor({2.0F}).requires_grad_(true);
  const Velocity v = [&](const at::Tensor& x, const at::Tensor&) { return x * weight; };
  const at::Tensor x = integrate_fixed(v, some_normals({2, 3}, 1).to(at::kFloat), kHeun2, {0, 0.5, 1}).x;
  EXPECT_EQ(x.scalar_type(), at::kFloat);
  EXPECT_FALSE(x.requires_grad());
  EXPECT_TRUE(at::GradMode::is_enabled());
}

TEST(Ode, RefusesAVelocityOfAnotherShape) {
  const Velocity v = [](const at::Tensor& x, const at::Tensor&) { return x.narrow(0, 0, 1); };
  EXPECT_THAT(
      [&] {
        integrate_fixed(v, some_normals({2, 3}, 1), kEuler, {0, 1});
      },
      testing::ThrowsMessage<Error>(AllOf(HasSubstr("velocity"), HasSubstr("[1,3]"), HasSubstr("[2,3]"))));
}

TEST(Ode, TheConfigurationNamesAllOfItsProblems) {
  EXPECT_TRUE(OdeConfig{}.validate().empty());
  const Problems problems = OdeConfig{"rk9", 0, "round", 1.5}.validate();
  ASSERT_EQ(problems.size(), 4U);
  EXPECT_THAT(problems[0], AllOf(HasSubstr("--solver=rk9"), HasSubstr("midpoint")));
  EXPECT_THAT(problems[1], HasSubstr("--steps=0"));
  EXPECT_THAT((OdeConfig{.steps = -3}.validate("--solver_steps")),
              testing::ElementsAre(HasSubstr("--solver_steps=-3")));
  EXPECT_THAT(problems[2], HasSubstr("--grid=round"));
  EXPECT_THAT(problems[3], HasSubstr("t_end"));
  const Problems adaptive =
      OdeConfig{.solver = "dopri5", .atol = -1, .rtol = 2, .step_control = "none", .error_norm = "y", .max_nfe = 3}
          .validate();
  EXPECT_THAT(adaptive, testing::ElementsAre(HasSubstr("--atol=-1"), HasSubstr("--rtol=2"), HasSubstr("--step_control"),
                                             HasSubstr("--error_norm=y"), HasSubstr("--max_nfe=3")));
  EXPECT_TRUE((OdeConfig{.solver = "dopri5", .steps = 0, .grid = ""}.validate().empty()));  // not its business
}

}  // namespace
}  // namespace cfm::flow
