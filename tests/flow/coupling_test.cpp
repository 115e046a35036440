#include "flow/coupling.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cdist.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "support/flow_tensors.h"

namespace cfm::flow {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using tests::some_normals;

// The sum of |x1_i - x0_p(i)|^2, in float64.
double distance(const at::Tensor& x0, const at::Tensor& x1, const std::vector<int64_t>& p) {
  double sum = 0;
  for (int64_t i = 0; i < x1.size(0); ++i)
    sum += (x1[i].to(at::kDouble) - x0[p[static_cast<size_t>(i)]].to(at::kDouble)).square().sum().item<double>();
  return sum;
}

std::vector<int64_t> in_order(int64_t n) {
  std::vector<int64_t> p(static_cast<size_t>(n));
  std::iota(p.begin(), p.end(), 0);
  return p;
}

TEST(MinibatchOt, HasTheLeastSquaredDistanceOfAllPermutations) {
  for (unsigned seed = 0; seed < 10; ++seed) {
    const at::Tensor x0 = some_normals({6, 3, 5, 7}, seed).to(at::kFloat);
    const at::Tensor x1 = (some_normals({6, 3, 5, 7}, seed + 100) * 0.4 + 0.3).to(at::kFloat);
    std::vector<int64_t> p = in_order(6);
    double least = distance(x0, x1, p);
    while (std::next_permutation(p.begin(), p.end())) least = std::min(least, distance(x0, x1, p));
    EXPECT_NEAR(distance(x0, x1, minibatch_ot(x0, x1)), least, 1e-3) << seed;
  }
}

TEST(MinibatchOt, FindsTheNoiseThatTheImagesAreMadeOf) {
  const int64_t n = 100;
  const at::Tensor x0 = some_normals({n, 1, 8, 8}, 1).to(at::kFloat);
  std::vector<int64_t> hidden = in_order(n);
  std::ranges::rotate(hidden, hidden.begin() + 37);
  std::swap(hidden[5], hidden[50]);
  const at::Tensor x1 = x0.index_select(0, at::tensor(hidden)) * 0.7 + 2;
  EXPECT_EQ(minibatch_ot(x0, x1), hidden);
}

TEST(MinibatchOt, OfNumbersOnALineSortsBoth) {
  const at::Tensor x0 = some_normals({200, 1, 1, 1}, 1).to(at::kFloat),
                   x1 = some_normals({200, 1, 1, 1}, 2).to(at::kFloat);
  const std::vector<int64_t> p = minibatch_ot(x0, x1);
  const at::Tensor moved = x0.index_select(0, at::tensor(p));
  EXPECT_TRUE(moved.flatten().index_select(0, x1.flatten().argsort()).equal(std::get<0>(x0.flatten().sort())));
}

TEST(Blocks, AreThoseOfTheGlobalBatchThatASliceTouches) {
  const auto firsts_and_counts = [](int64_t first, int64_t count, int64_t block) {
    std::vector<std::pair<int64_t, int64_t>> found;
    for (const StepSlots& slots :
         blocks_of({.images_seen = 70, .global_batch = 20, .first = first, .count = count}, block)) {
      EXPECT_EQ(slots.images_seen, 70U);
      EXPECT_EQ(slots.global_batch, 20);
      found.emplace_back(slots.first, slots.count);
    }
    return found;
  };
  EXPECT_THAT(firsts_and_counts(0, 20, 8), ElementsAre(std::pair{0, 8}, std::pair{8, 8}, std::pair{16, 4}));
  EXPECT_THAT(firsts_and_counts(7, 2, 8), ElementsAre(std::pair{0, 8}, std::pair{8, 8}));
  EXPECT_THAT(firsts_and_counts(8, 8, 8), ElementsAre(std::pair{8, 8}));
  EXPECT_THAT(firsts_and_counts(17, 1, 8), ElementsAre(std::pair{16, 4}));
  EXPECT_THAT(firsts_and_counts(3, 5, 100), ElementsAre(std::pair{0, 20}));
  EXPECT_THAT(firsts_and_counts(3, 0, 8), ElementsAre());
}

TEST(Coupling, RefusesWhatIsNone) {
  EXPECT_TRUE(Coupling{}.validate().empty());
  EXPECT_TRUE((Coupling{"minibatch_ot", 256}.validate().empty()));
  EXPECT_THAT((Coupling{"sinkhorn", 0}.validate()),
              ElementsAre(HasSubstr("independent, minibatch_ot"), HasSubstr("--ot_block=0")));
}

}  // namespace
}  // namespace cfm::flow
