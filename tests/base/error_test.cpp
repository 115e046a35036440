#include "base/error.h"

#include <gtest/gtest.h>

#include "support/error_text.h"

namespace cfm {
namespace {

using test::error_text;
using test::has;

TEST(Errors, AreNotRetriedUnlessTheySaySo) {
  EXPECT_EQ(Error("x").exit_code(), ExitCode::kWontWork);
  EXPECT_EQ(Error("x", ExitCode::kRetry).exit_code(), ExitCode::kRetry);
  EXPECT_EQ(SharedError("x").exit_code(), ExitCode::kWontWork);
}

TEST(Errors, HaveTheExitCodesThatBatchScriptsActOn) {
  EXPECT_EQ(static_cast<int>(ExitCode::kDone), 0);
  EXPECT_EQ(static_cast<int>(ExitCode::kWontWork), 2);
  EXPECT_EQ(static_cast<int>(ExitCode::kRequeue), 75);
}

TEST(Check, ThrowsItsMessageUnlessTheConditionHolds) {
  EXPECT_NO_THROW(check(true, "never"));
  EXPECT_EQ(error_text([] { check(false, "the message"); }), "the message");
}

TEST(CheckNoProblems, ListsAllOfThem) {
  EXPECT_NO_THROW(check_no_problems({}));
  EXPECT_EQ(error_text([] { check_no_problems({"--a is wrong"}); }), "--a is wrong");
  const std::string text = error_text([] { check_no_problems({"--a is wrong", "--b is worse"}); });
  EXPECT_TRUE(has(text, {"2 problems", "--a is wrong", "--b is worse"}));
  EXPECT_THROW(check_no_problems({"--a is wrong"}), SharedError);
}

}  // namespace
}  // namespace cfm
