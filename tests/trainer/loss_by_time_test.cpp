#include "trainer/loss_by_time.h"

#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "trainer/step_measure.h"

namespace cfm::trainer {
namespace {

TEST(LossByTime, IsTheSumOfTheLossesInEachTenthOfTheWay) {
  for (const double t_end : {1.0, 0.99999}) {
    std::mt19937 random(7);
    std::uniform_real_distribution<double> uniform(0, 1);
    std::vector<double> times{0, 0.0999 * t_end, 0.1001 * t_end, t_end};
    while (times.size() < 500) times.push_back(t_end * uniform(random));
    std::vector<double> losses, sums(kTimeBins), images(kTimeBins);
    for (const double t : times) {
      losses.push_back(uniform(random));
      int bin = 0;
      while (bin + 1 < kTimeBins && t / t_end >= (bin + 1) / 10.0) ++bin;
      sums[static_cast<size_t>(bin)] += losses.back();
      images[static_cast<size_t>(bin)] += 1;
    }
    // As a step in two micro-batches.
    const at::Tensor loss = at::tensor(losses, at::kDouble), t = at::tensor(times, at::kDouble);
    at::Tensor by_time = at::zeros({2, kTimeBins}, at::kDouble);
    by_time += losses_by_time(loss.narrow(0, 0, 123), t.narrow(0, 0, 123), t_end);
    by_time += losses_by_time(loss.narrow(0, 123, 377), t.narrow(0, 123, 377), t_end);
    const StepLosses found = on_host(loss.sum(), by_time);
    double all = 0;
    for (size_t bin = 0; bin < kTimeBins; ++bin) {
      EXPECT_NEAR(found.by_time[bin], sums[bin], 1e-12) << bin;
      EXPECT_EQ(found.images[bin], images[bin]) << bin;
      all += found.by_time[bin];
    }
    EXPECT_NEAR(found.sum, all, 1e-10);
  }
}

TEST(LossByTime, LeavesANumberThatIsNoneInItsOwnBin) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const at::Tensor by_time =
      losses_by_time(at::tensor({1.0, nan, 3.0}, at::kFloat), at::tensor({0.05, 0.55, 0.95}, at::kDouble), 1);
  const StepLosses losses = on_host(at::tensor(0.0), by_time);
  EXPECT_EQ(losses.by_time[0], 1);
  EXPECT_TRUE(std::isnan(losses.by_time[5]));
  EXPECT_EQ(losses.by_time[9], 3);
}

// What two ranks report, as parallel::StepControl adds it up.
TEST(LossByTime, AndTheGpusMemoryReachAllRanksWithTheirStep) {
  StepMeasure one, two;
  one.losses.sum = 3;
  two.losses.sum = 4;
  for (size_t bin = 0; bin < kTimeBins; ++bin) {
    one.losses.by_time[bin] = static_cast<double>(bin);
    two.losses.by_time[bin] = 100;
    one.losses.images[bin] = 2;
    two.losses.images[bin] = static_cast<double>(bin);
  }
  one.gpu_memory = {.allocated = 1'000'000'000'000, .peak = 20, .reserved = 30};
  two.gpu_memory = {.allocated = 10, .peak = 25, .reserved = 3};
  const parallel::StepReport a = to_report(one, false, 0, 2), b = to_report(two, false, 1, 2);
  parallel::StepSummary summary;
  for (size_t i = 0; i < a.sums.size(); ++i) summary.sums.push_back(a.sums[i] + b.sums[i]);
  for (size_t i = 0; i < a.maxima.size(); ++i) summary.maxima.push_back(std::max(a.maxima[i], b.maxima[i]));
  const StepOverRanks all = over_ranks(summary, 2);
  EXPECT_EQ(all.losses.sum, 7);
  for (size_t bin = 0; bin < kTimeBins; ++bin) {
    EXPECT_EQ(all.losses.by_time[bin], static_cast<double>(bin + 100));
    EXPECT_EQ(all.losses.images[bin], static_cast<double>(bin + 2));
  }
  EXPECT_EQ(all.gpu_memory.allocated, 1'000'000'000'000);
  EXPECT_EQ(all.gpu_memory.peak, 25);
  EXPECT_EQ(all.gpu_memory.reserved, 30);
}

}  // namespace
}  // namespace cfm::trainer
