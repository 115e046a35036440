// Moments on one rank and over several: the same numbers as from all vectors at once, the same bits whoever sums.
#include "evaluator/moments.h"

#include <ATen/ATen.h>

#include "flow/sampler.h"
#include "support/feature_sets.h"
#include "support/mpi_tests.h"

namespace cfm::evaluator {
namespace {

using test::feature_set;
using test::session;

constexpr int64_t kBlock = 64, kCount = 64 * 10 + 17;

at::Tensor block_of(const at::Tensor& features, int64_t block) {
  const int64_t first = block * kBlock;
  return features.narrow(0, first, std::min(kBlock, features.size(0) - first));
}

MomentTree tree_of(const at::Tensor& features, int64_t first, int64_t last) {
  MomentTree tree;
  for (int64_t block = first; block < last; ++block) tree.add(block, moments_of(block_of(features, block)));
  return tree;
}

void expect_same_bits(const Moments& a, const Moments& b) {
  EXPECT_EQ(a.count, b.count);
  EXPECT_TRUE(at::equal(a.mean, b.mean));
  EXPECT_TRUE(at::equal(a.scatter, b.scatter));
}

TEST(Moments, OfMergedBlocksAreThoseOfAllVectors) {
  const at::Tensor features = feature_set(kCount, 24, 1, 100);  // far from 0: sums of squares would lose digits
  const Moments merged = tree_of(features, 0, 11).total();
  const at::Tensor wide = features.to(at::kDouble);
  EXPECT_EQ(merged.count, kCount);
  EXPECT_LT((merged.mean - wide.mean(0)).abs().max().item<double>(), 1e-12);
  EXPECT_LT((merged.gaussian().covariance - at::cov(wide.t())).abs().max().item<double>(), 1e-12);
}

TEST(Moments, AreTheSameBitsHoweverBlocksAreDealt) {
  const at::Tensor features = feature_set(kCount, 24, 2);
  const Moments all = tree_of(features, 0, 11).total();
  for (int64_t first_cut = 0; first_cut <= 11; ++first_cut) {
    for (int64_t second_cut = first_cut; second_cut <= 11; ++second_cut) {
      MomentTree tree = tree_of(features, 0, first_cut);
      tree.append(MomentTree::from_bytes(tree_of(features, first_cut, second_cut).bytes()));
      tree.append(tree_of(features, second_cut, 11));
      expect_same_bits(tree.total(), all);
    }
  }
}

TEST(Moments, GatheredFromRanksAreTheBitsOfOneRank) {
  const at::Tensor features = feature_set(kCount, 24, 3);
  const flow::SampleRange share = flow::samples_of_rank(kCount, kBlock, session().rank(), session().size());
  const MomentTree mine = tree_of(features, share.first / kBlock, (share.last + kBlock - 1) / kBlock);
  const std::vector<std::string> trees = session().control().gather(mine.bytes());
  if (session().rank() != 0) return;
  MomentTree all;
  for (const std::string& tree : trees) all.append(MomentTree::from_bytes(tree));
  expect_same_bits(all.total(), tree_of(features, 0, 11).total());
}

}  // namespace
}  // namespace cfm::evaluator

int main(int argc, char** argv) { return cfm::test::run_mpi_tests(argc, argv); }
