#include "base/grouped_number.h"

#include <gtest/gtest.h>

namespace cfm {
namespace {

TEST(GroupedNumber, HasACommaBeforeEveryThirdDigitFromTheEnd) {
  EXPECT_EQ(grouped(0), "0");
  EXPECT_EQ(grouped(999), "999");
  EXPECT_EQ(grouped(1000), "1,000");
  EXPECT_EQ(grouped(1281167), "1,281,167");
  EXPECT_EQ(grouped(1234567890123), "1,234,567,890,123");
}

}  // namespace
}  // namespace cfm
