#include "evaluator/kernel_distance.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <set>

#include "support/feature_sets.h"

namespace cfm::evaluator {
namespace {

using test::feature_set;

TEST(KeyedSubset, HoldsDifferentNumbersAndIsTheSameEveryTime) {
  for (const int64_t count : {0, 1, 7, 20}) {
    const std::vector<int64_t> subset = keyed_subset({1, Purpose::kKidSubset, 5}, 20, count);
    EXPECT_EQ(subset, keyed_subset({1, Purpose::kKidSubset, 5}, 20, count));
    const std::set<int64_t> distinct(subset.begin(), subset.end());
    ASSERT_EQ(static_cast<int64_t>(distinct.size()), count);
    if (count > 0) {
      EXPECT_GE(*distinct.begin(), 0);
      EXPECT_LT(*distinct.rbegin(), 20);
    }
  }
  EXPECT_NE(keyed_subset({1, Purpose::kKidSubset, 5}, 20, 7), keyed_subset({1, Purpose::kKidSubset, 6}, 20, 7));
}

TEST(KeyedSubset, TakesEveryNumberEquallyOften) {
  std::vector<int> taken(20);
  const int subsets = 20'000;
  for (uint64_t i = 0; i < subsets; ++i)
    for (const int64_t number : keyed_subset({2, Purpose::kKidSubset, i}, 20, 5)) ++taken[static_cast<size_t>(number)];
  const double expected = subsets * 5 / 20.0, deviation = std::sqrt(subsets * 0.25 * 0.75);
  for (const int count : taken) EXPECT_NEAR(count, expected, 5 * deviation);
}

TEST(KernelDistance, IsUnbiasedSoThatHalvesOfOneSetAreAtNoDistance) {
  const at::Tensor all = feature_set(4000, 16, 3);
  const KernelDistance same = kernel_distance(all.narrow(0, 0, 2000), all.narrow(0, 2000, 2000), 0, {100, 500});
  EXPECT_LT(std::abs(same.mean), 3 * same.deviation / 10);  // subsets overlap: the error is larger than deviation/10
  const KernelDistance other = kernel_distance(all.narrow(0, 0, 2000), feature_set(2000, 16, 4, 0.5), 0, {100, 500});
  EXPECT_GT(other.mean, 20 * other.deviation / 10);
}

TEST(KernelDistance, TakesSmallerSubsetsOfSmallerSetsAndSaysSo) {
  const KernelDistance distance = kernel_distance(feature_set(60, 8, 1), feature_set(90, 8, 2), 0);
  EXPECT_EQ(distance.subset_size, 60);
  EXPECT_EQ(distance.subsets, 100);
}

TEST(KernelDistance, IsLeftByWhatIsThrownBetweenTwoSubsets) {
  struct Enough {};
  int begun = 0;
  const auto stop = [&] {
    if (++begun == 3) throw Enough{};
  };
  EXPECT_THROW(kernel_distance(feature_set(60, 8, 1), feature_set(90, 8, 2), 0, {}, stop), Enough);
  EXPECT_EQ(begun, 3);
}

}  // namespace
}  // namespace cfm::evaluator
