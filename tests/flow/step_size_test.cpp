#include "flow/step_size.h"

#include <gtest/gtest.h>

#include <cmath>

namespace cfm::flow {
namespace {

TEST(StepSize, FollowsTheErrorsFifthRootWithinItsLimits) {
  EXPECT_NEAR(step_factor(1), 0.9, 1e-15);
  EXPECT_NEAR(step_factor(32), 0.45, 1e-15);
  EXPECT_NEAR(step_factor(1.0 / 32), 1.8, 1e-15);
  EXPECT_EQ(step_factor(0), 10);
  EXPECT_EQ(step_factor(1e-9), 10);
  EXPECT_EQ(step_factor(1e9), 0.2);
}

TEST(StepSize, IsNotShortenedAfterAStepThatWasTaken) {
  EXPECT_EQ(step_factor(0.8), 1);  // 0.9 * 0.8^(-1/5) = 0.941
  EXPECT_NEAR(step_factor(1.001), 0.9, 1e-3);
}

TEST(StepSize, TheFirstOneIsHairersChoice) {
  EXPECT_EQ(trial_step(2, 4), 0.005);
  EXPECT_EQ(trial_step(1e-6, 4), 1e-6);
  EXPECT_EQ(trial_step(2, 1e-6), 1e-6);
  EXPECT_NEAR(first_step(0.01, 1, 320), std::pow(2, -3) * std::pow(0.01 / 320 * 32768, 0.2), 1e-15);
  EXPECT_NEAR(first_step(1e-6, 1, 1), 1e-4, 1e-15);  // no more than a hundred trial steps
  EXPECT_EQ(first_step(1, 0, 0), 1e-3);
}

TEST(StepSize, TheLadderRoundsDownToAFourthOfAnOctaveAndKeepsItsOwnLengths) {
  const double fourth = 1.189207115002721;  // 2^(1/4)
  EXPECT_EQ(on_ladder(0.25), 0.25);
  EXPECT_EQ(on_ladder(0.25 * 1.18), 0.25);
  EXPECT_NEAR(on_ladder(0.25 * 1.19), 0.25 * fourth, 1e-15);
  EXPECT_NEAR(on_ladder(0.2499), 0.125 * fourth * fourth * fourth, 1e-15);
  for (double h = 1e-9; h < 2; h *= 1.37) {
    const double rung = on_ladder(h);
    EXPECT_EQ(on_ladder(rung), rung);
    EXPECT_LE(rung, h);
    EXPECT_GT(rung * fourth, h * (1 - 1e-9));
  }
}

}  // namespace
}  // namespace cfm::flow
