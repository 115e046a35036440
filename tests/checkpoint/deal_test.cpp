#include "checkpoint/deal.h"

#include <gtest/gtest.h>

namespace cfm::checkpoint {
namespace {

using Ranks = std::vector<int>;

TEST(Deal, GivesEveryFileToOneRankThatIsAlone) { EXPECT_EQ(deal_files({5, 1, 3}, 1), (Ranks{0, 0, 0})); }

TEST(Deal, GivesTheLargestFirstAndEachToTheWriterWithTheFewestBytes) {
  EXPECT_EQ(deal_files({10, 40, 30, 20}, 2), (Ranks{0, 0, 1, 1}));  // 40 + 10, 30 + 20
}

TEST(Deal, HasFourWritersEvenlySpacedOverManyRanks) {
  EXPECT_EQ(deal_files({5, 5, 5, 5, 5}, 16), (Ranks{0, 4, 8, 12, 0}));
  EXPECT_EQ(deal_files({5, 5, 5, 5}, 6), (Ranks{0, 1, 3, 4}));
}

}  // namespace
}  // namespace cfm::checkpoint
