#include "base/unused_flags.h"

#include <gflags/gflags.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

DEFINE_double(atol, 1e-5, "solver: of an adaptive one");
DEFINE_int32(steps, 50, "solver: of a grid");
DEFINE_string(grid, "uniform", "solver: of the steps");

namespace cfm {
namespace {

using ::testing::ElementsAre;

TEST(UnusedFlags, AreThoseThatWereGivenBeItToTheirDefault) {
  EXPECT_FALSE(flag_was_given("steps"));
  EXPECT_FALSE(flag_was_given("no_such_flag"));
  EXPECT_TRUE(unused_flags({"atol", "steps", "grid"}, "why").empty());
  gflags::SetCommandLineOption("steps", "50");
  gflags::SetCommandLineOption("atol", "1e-3");
  EXPECT_TRUE(flag_was_given("steps"));
  EXPECT_THAT(
      unused_flags({"steps", "grid", "atol", "no_such_flag"}, "the solver has none"),
      ElementsAre("--steps=50 does nothing: the solver has none.", "--atol=0.001 does nothing: the solver has none."));
}

}  // namespace
}  // namespace cfm
