#include "base/number_text.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace cfm {
namespace {

TEST(NumberText, IsTheShortestThatReadsBack) {
  EXPECT_EQ(number_text(0.9999), "0.9999");
  EXPECT_EQ(number_text(0.99995), "0.99995");
  EXPECT_EQ(number_text(0.0), "0");
  EXPECT_EQ(number_text(1000.0), "1000");
  EXPECT_EQ(number_text(0.1 + 0.2), "0.30000000000000004");
}

TEST(NumberText, DoesNotRoundSmallNumbersToZero) {
  EXPECT_EQ(number_text(-1e-9), "-1e-09");
  EXPECT_EQ(number_text(1e-5), "1e-05");
}

TEST(NumberText, SaysWhatIsNoNumber) {
  EXPECT_EQ(number_text(std::nan("")), "nan");
  EXPECT_EQ(number_text(-std::numeric_limits<double>::infinity()), "-inf");
}

TEST(NumberText, HoldsEveryInteger) {
  EXPECT_EQ(number_text(int64_t{9007199254740993}), "9007199254740993");
  EXPECT_EQ(number_text(std::numeric_limits<int64_t>::min()), "-9223372036854775808");
}

}  // namespace
}  // namespace cfm
