#include "base/shape.h"

#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include "support/error_text.h"

namespace cfm {
namespace {

using test::error_text;
using test::has;

TEST(ShapeText, ListsSizesInBrackets) {
  EXPECT_EQ(shape_text({2, 3, 32, 32}), "[2,3,32,32]");
  EXPECT_EQ(shape_text({}), "[]");
}

TEST(CheckShape, AcceptsExactSizesAndAnySizeForMinusOne) {
  EXPECT_NO_THROW(check_shape(at::zeros({2, 3}), {2, 3}, "x"));
  EXPECT_NO_THROW(check_shape(at::zeros({2, 3}), {-1, 3}, "x"));
  EXPECT_NO_THROW(check_shape(at::zeros({0, 3}), {-1, 3}, "x"));
  EXPECT_NO_THROW(check_shape(at::zeros({}), {}, "x"));
}

TEST(CheckShape, NamesTheTensorAndBothShapes) {
  EXPECT_TRUE(has(error_text([] { check_shape(at::zeros({2, 3}), {2, 4}, "labels"); }), {"labels", "[2,3]", "[2,4]"}));
  EXPECT_TRUE(has(error_text([] { check_shape(at::zeros({2, 3}), {2, 3, 1}, "x"); }), {"[2,3]", "[2,3,1]"}));
  EXPECT_TRUE(has(error_text([] { check_shape(at::Tensor(), {-1}, "t"); }), {"t", "undefined"}));
}

}  // namespace
}  // namespace cfm
