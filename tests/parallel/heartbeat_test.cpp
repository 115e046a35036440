#include "parallel/heartbeat.h"

#include <gtest/gtest.h>

namespace cfm::parallel {
namespace {

using Ranks = std::vector<int>;

TEST(Monitors, AreOnTwoMachinesWhereThereAreTwo) {
  EXPECT_EQ(monitors_of({"n1"}), Ranks{0});
  EXPECT_EQ(monitors_of({"n1", "n1", "n1"}), (Ranks{0, 1}));
  EXPECT_EQ(monitors_of({"n1", "n1", "n2", "n2"}), (Ranks{0, 2}));
  EXPECT_EQ(monitors_of({"n1", "n2", "n1", "n2"}), (Ranks{0, 1}));
}

}  // namespace
}  // namespace cfm::parallel
