#include "evaluator/precision_recall.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "support/feature_sets.h"

namespace cfm::evaluator {
namespace {

using test::feature_set;

// The share of x within a ball around some of `centres` that reaches to the k-th nearest of these: pair by pair.
double share_by_hand(const at::Tensor& x, const at::Tensor& centres, int64_t k) {
  const auto distances = [](const at::Tensor& from, const at::Tensor& to) {
    return (to - from).square().sum(1).contiguous();
  };
  std::vector<double> radii;
  for (int64_t c = 0; c < centres.size(0); ++c) {
    const at::Tensor all = distances(centres[c], centres);
    std::vector<double> sorted(all.const_data_ptr<double>(), all.const_data_ptr<double>() + all.numel());
    std::ranges::sort(sorted);
    radii.push_back(sorted[static_cast<size_t>(k)]);
  }
  int64_t within = 0;
  for (int64_t i = 0; i < x.size(0); ++i) {
    const at::Tensor all = distances(x[i], centres);
    bool is_within = false;
    for (int64_t c = 0; c < centres.size(0); ++c)
      is_within = is_within || all.const_data_ptr<double>()[c] <= radii[static_cast<size_t>(c)];
    within += is_within ? 1 : 0;
  }
  return static_cast<double>(within) / static_cast<double>(x.size(0));
}

TEST(PrecisionRecall, AreTheSharesWithinTheOthersNeighbourhoodsPairByPair) {
  const at::Tensor samples = feature_set(700, 8, 2), reference = feature_set(550, 8, 3, 0.3);
  const at::Tensor x = samples.to(at::kDouble), y = reference.to(at::kDouble);
  for (const int64_t k : {1, 3}) {
    const PrecisionRecall found = precision_recall(samples, reference, k);
    EXPECT_DOUBLE_EQ(found.precision, share_by_hand(x, y, k));
    EXPECT_DOUBLE_EQ(found.recall, share_by_hand(y, x, k));
    EXPECT_LT(found.recall, 1);
    EXPECT_GT(found.precision, 0);
  }
}

TEST(PrecisionRecall, AreLeftByWhatIsThrownBetweenTheirParts) {
  const at::Tensor samples = feature_set(700, 8, 2), reference = feature_set(550, 8, 3);
  struct Enough {};
  int parts = 0;
  precision_recall(samples, reference, 3, [&] { ++parts; });
  EXPECT_GE(parts, 10);  // 4 passes over sets of several hundred
  for (int last : {1, parts / 2, parts}) {
    int begun = 0;
    const auto stop = [&] {
      if (++begun == last) throw Enough{};
    };
    EXPECT_THROW(precision_recall(samples, reference, 3, stop), Enough);
    EXPECT_EQ(begun, last);
  }
}

}  // namespace
}  // namespace cfm::evaluator
