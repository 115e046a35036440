#include "models/ema.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <cmath>

namespace cfm::models {
namespace {

// The average after the parameter took the values v_1 .. v_n from v_0 on, as one weighted sum: v_i has the weight
// (1 - d_i) prod_{j > i} d_j, v_0 the product of all d.
double closed_form(const std::vector<double>& values, const std::vector<double>& decays) {
  double sum = 0, remaining = 1;
  for (size_t i = values.size() - 1; i > 0; --i) {
    sum += values[i] * (1 - decays[i - 1]) * remaining;
    remaining *= decays[i - 1];
  }
  return sum + values[0] * remaining;
}

TEST(Ema, EqualsItsClosedFormForSeveralDecaysWithAndWithoutWarmup) {
  for (const bool warmup : {false, true}) {
    at::Tensor a = at::full({3}, 2.0, at::kDouble).requires_grad_(), b = at::full({2, 2}, -1.0, at::kDouble);
    Ema ema({.decays = {0.5, 0.9, 0.9999}, .warmup = warmup}, {{"a", a}, {"b", b}});
    std::vector<double> values{2.0};
    constexpr int kUpdates = 40;
    for (int n = 0; n < kUpdates; ++n) {
      const double value = std::sin(n + 1.0) * (n + 1);
      const at::NoGradGuard no_grad;
      a.fill_(value);
      b.fill_(-value / 2);
      ema.update(n);
      values.push_back(value);
    }
    for (size_t i = 0; i < ema.decays().size(); ++i) {
      std::vector<double> decays;
      for (int n = 0; n < kUpdates; ++n) {
        decays.push_back(warmup ? std::min(ema.decays()[i], (1.0 + n) / (10.0 + n)) : ema.decays()[i]);
      }
      const double expected = closed_form(values, decays);
      const auto average = ema.average(i);
      ASSERT_EQ(average.size(), 2U);
      EXPECT_EQ(average[0].first, "a");
      EXPECT_EQ(average[1].second.sizes().vec(), (std::vector<int64_t>{2, 2}));
      EXPECT_NEAR(average[0].second[1].item<double>(), expected, 1e-12 * 40);
      EXPECT_NEAR(average[1].second[0][1].item<double>(), -expected / 2, 1e-12 * 40);
    }
  }
}

TEST(Ema, StartsAsACopyThatTrainingDoesNotTouch) {
  at::Tensor a = at::ones({4}).requires_grad_();
  const Ema ema({.decays = {0.9}}, {{"a", a}});
  {
    const at::NoGradGuard no_grad;
    a.zero_();
  }
  EXPECT_TRUE(ema.average(0)[0].second.equal(at::ones({4})));
  EXPECT_FALSE(ema.average(0)[0].second.requires_grad());
}

TEST(Ema, KeepsTheMemoryFormat) {
  const at::Tensor a = at::randn({4, 3, 2, 2}).contiguous(at::MemoryFormat::ChannelsLast);
  Ema ema({.decays = {0.9}}, {{"a", a}});
  ema.update(0);
  EXPECT_TRUE(ema.average(0)[0].second.is_contiguous(at::MemoryFormat::ChannelsLast));
}

TEST(Ema, WarmupStartsAtATenthAndEndsAtTheDecay) {
  EXPECT_DOUBLE_EQ(ema_decay_at(0.9999, true, 0), 0.1);
  EXPECT_DOUBLE_EQ(ema_decay_at(0.9999, true, 90), 0.91);
  EXPECT_DOUBLE_EQ(ema_decay_at(0.9999, true, 1'000'000), 0.9999);
  EXPECT_DOUBLE_EQ(ema_decay_at(0.9999, false, 0), 0.9999);
}

TEST(Ema, NamesBadDecays) {
  const Problems problems = EmaConfig{.decays = {0.9, 1.0, 0.9}}.validate();
  ASSERT_EQ(problems.size(), 2U);
  EXPECT_NE(problems[0].find("--ema_decays: 1 "), std::string::npos);
  EXPECT_NE(problems[1].find("0.9 is given twice"), std::string::npos);
}

}  // namespace
}  // namespace cfm::models
