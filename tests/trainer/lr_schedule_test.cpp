#include "trainer/lr_schedule.h"

#include <gtest/gtest.h>

namespace cfm::trainer {
namespace {

TEST(LrSchedule, PolynomialDecayIsThePapersTwoStraightLines) {
  // Points read off the formula of arXiv:2210.02747v2 app. E.2 for 5e-4, 45k of 391k steps.
  const LrSchedule schedule{.lr = 5e-4, .warmup_steps = 45000, .lr_decay = "polynomial", .lr_floor = 1e-8};
  EXPECT_DOUBLE_EQ(lr_at(schedule, 0, 391000), 1e-8);
  EXPECT_NEAR(lr_at(schedule, 22500, 391000), 2.50005e-4, 1e-12);
  EXPECT_DOUBLE_EQ(lr_at(schedule, 45000, 391000), 5e-4);
  EXPECT_NEAR(lr_at(schedule, 218000, 391000), 2.50005e-4, 1e-12);
  EXPECT_NEAR(lr_at(schedule, 390999, 391000), 1e-8 + 4.9999e-4 / 346000, 1e-15);
}

TEST(LrSchedule, ConstantStaysAtThePeakAfterWarmup) {
  const LrSchedule schedule{.lr = 2e-4, .warmup_steps = 5000, .lr_decay = "constant", .lr_floor = 0};
  EXPECT_DOUBLE_EQ(lr_at(schedule, 1, 400001), 2e-4 / 5000);
  EXPECT_DOUBLE_EQ(lr_at(schedule, 5000, 400001), 2e-4);
  EXPECT_DOUBLE_EQ(lr_at(schedule, 400000, 400001), 2e-4);
}

TEST(LrSchedule, CosineIsHalfWayAtHalfTime) {
  const LrSchedule schedule{.lr = 1e-3, .warmup_steps = 0, .lr_decay = "cosine", .lr_floor = 1e-5};
  EXPECT_DOUBLE_EQ(lr_at(schedule, 0, 100), 1e-3);
  EXPECT_NEAR(lr_at(schedule, 50, 100), (1e-3 + 1e-5) / 2, 1e-15);
  EXPECT_NEAR(lr_at(schedule, 25, 100), 1e-5 + 9.9e-4 * 0.8535533905932737, 1e-12);
}

TEST(LrSchedule, ProblemsNameTheirFlags) {
  const Problems problems = LrSchedule{.lr = -1, .warmup_steps = 9, .lr_decay = "step", .lr_floor = 2}.validate(5);
  ASSERT_EQ(problems.size(), 4U);
  EXPECT_NE(problems[0].find("--lr"), std::string::npos);
  EXPECT_NE(problems[1].find("--warmup_steps=9"), std::string::npos);
  EXPECT_NE(problems[2].find("--lr_decay=step"), std::string::npos);
}

}  // namespace
}  // namespace cfm::trainer
