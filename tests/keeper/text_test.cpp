#include "keeper/text.h"

#include <gtest/gtest.h>

namespace cfm::keeper {
namespace {

TEST(Table, AlignsNumbersToTheRightAndLeavesNoBlanksAtTheEnd) {
  EXPECT_EQ(table_text({{"step", true}, {"what"}}, {{"5", "a"}, {"12000", ""}}),
            " step  what\n"
            "    5  a\n"
            "12000\n");
}

TEST(Table, WithoutTitlesHasRowsAlone) { EXPECT_EQ(table_text({{""}, {""}}, {{"a", "b"}}), "a  b\n"); }

TEST(Bytes, AreOfThreeDigitsInTheUnitThatFits) {
  EXPECT_EQ(bytes_text(0), "0 B");
  EXPECT_EQ(bytes_text(999), "999 B");
  EXPECT_EQ(bytes_text(1000), "1.00 kB");
  EXPECT_EQ(bytes_text(12'345'678), "12.3 MB");
  EXPECT_EQ(bytes_text(999'600'000), "1.00 GB");
  EXPECT_EQ(bytes_text(987'000'000'000), "987 GB");
}

TEST(Times, AreUtcOrAbout) {
  EXPECT_EQ(utc_text(951'868'799), "2000-02-29 23:59:59");
  EXPECT_EQ(about_text(119), "119 s");
  EXPECT_EQ(about_text(3600), "60 min");
  EXPECT_EQ(about_text(3 * 86400), "3 days");
  EXPECT_EQ(about_text(-5), "0 s");  // another machine's clock
}

}  // namespace
}  // namespace cfm::keeper
