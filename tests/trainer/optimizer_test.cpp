#include "trainer/optimizer.h"

#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <cmath>

namespace cfm::trainer {
namespace {

// Adam of one number by the formulas of arXiv:1412.6980 and 1711.05101, in long double.
long double adam_by_hand(long double x, const std::vector<double>& gradients, double lr, double decay, bool decoupled) {
  long double m = 0, v = 0;
  for (size_t n = 1; n <= gradients.size(); ++n) {
    long double g = gradients[n - 1];
    if (decoupled) x -= lr * decay * x;
    if (!decoupled) g += decay * x;
    m = 0.9L * m + 0.1L * g;
    v = 0.95L * v + 0.05L * g * g;
    x -= lr * (m / (1 - std::pow(0.9L, n))) / (std::sqrt(v / (1 - std::pow(0.95L, n))) + 1e-8L);
  }
  return x;
}

TEST(Optimizer, FollowsTheFormulasOfAdamAndAdamW) {
  const std::vector<double> gradients{0.5, -1.25, 3, 0.01, -0.2};
  for (const std::string kind : {"adam", "adamw"}) {
    const at::Tensor x = at::full({3}, 1.5, at::kDouble);
    Optimizer optimizer({.optimizer = kind, .beta1 = 0.9, .beta2 = 0.95, .adam_eps = 1e-8, .weight_decay = 0.1},
                        {{"x", x}});
    for (size_t n = 0; n < gradients.size(); ++n)
      optimizer.step({at::full({3}, gradients[n], at::kDouble)}, 0.01, static_cast<int64_t>(n));
    EXPECT_NEAR(x[1].item<double>(), static_cast<double>(adam_by_hand(1.5L, gradients, 0.01, 0.1, kind == "adamw")),
                1e-12)
        << kind;
  }
}

TEST(Optimizer, ContinuesFromItsMomentsAndCount) {
  const at::Tensor whole = at::full({4}, 2.0), parts = at::full({4}, 2.0);
  const OptimizerConfig config;
  Optimizer one(config, {{"x", whole}}), first(config, {{"x", parts}});
  for (int n = 0; n < 6; ++n) one.step({at::full({4}, 0.1 * (n + 1))}, 1e-2, n);
  for (int n = 0; n < 3; ++n) first.step({at::full({4}, 0.1 * (n + 1))}, 1e-2, n);
  Optimizer second(config, {{"x", parts}});
  second.exp_avg()[0].second.copy_(first.exp_avg()[0].second);
  second.exp_avg_sq()[0].second.copy_(first.exp_avg_sq()[0].second);
  for (int n = 3; n < 6; ++n) second.step({at::full({4}, 0.1 * (n + 1))}, 1e-2, n);
  EXPECT_TRUE(whole.equal(parts));
}

TEST(GradientNorm, IsPythagorasOverAllTensors) {
  EXPECT_DOUBLE_EQ(gradient_norm({at::full({9}, 1.0), at::full({2, 2}, 2.0)}), 5);
  EXPECT_TRUE(std::isnan(gradient_norm({at::full({9}, 1.0), at::full({1}, NAN)})));
}

TEST(ClipGradients, ScalesToTheNormAskedForAndLeavesSmallerOnesAlone) {
  const at::Tensor large = at::full({4}, 3.0, at::kDouble), small = at::full({4}, 0.1, at::kDouble);
  clip_gradients({large}, gradient_norm({large}), 1.0);
  clip_gradients({small}, gradient_norm({small}), 1.0);
  EXPECT_NEAR(gradient_norm({large}), 1.0, 1e-6);
  EXPECT_TRUE(small.equal(at::full({4}, 0.1, at::kDouble)));
  const at::Tensor untouched = at::full({4}, 3.0);
  clip_gradients({untouched}, 6.0, 0);
  EXPECT_TRUE(untouched.equal(at::full({4}, 3.0)));
}

}  // namespace
}  // namespace cfm::trainer
