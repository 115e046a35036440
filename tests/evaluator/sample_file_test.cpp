#include "evaluator/sample_file.h"

#include <ATen/ops/arange.h>
#include <gtest/gtest.h>

#include "data/image_file.h"
#include "data/npz.h"
#include "support/error_text.h"
#include "support/scratch_directory.h"

namespace cfm::evaluator {
namespace {

using test::error_text;
using test::has;

TEST(SampleFile, AnNpzHasTheImagesChannelsLast) {
  const tests::ScratchDirectory scratch;
  const at::Tensor images = at::arange(2 * 3 * 2 * 2, at::kByte).reshape({2, 3, 2, 2});
  write_samples(scratch.path() / "x.npz", images, {7, 300}, {});
  const auto arrays = data::read_npz(scratch.path() / "x.npz");
  ASSERT_EQ(arrays.size(), 2U);
  EXPECT_EQ(arrays.at("arr_0").shape, (std::vector<int64_t>{2, 2, 2, 3}));
  const std::vector<uint8_t> expected{0,  4,  8,  1,  5,  9,  2,  6,  10, 3,  7,  11,
                                      12, 16, 20, 13, 17, 21, 14, 18, 22, 15, 19, 23};
  EXPECT_EQ(arrays.at("arr_0").bytes, expected);
  EXPECT_EQ(arrays.at("arr_1").as_int64(), (std::vector<int64_t>{7, 300}));
}

TEST(SampleFile, AnNpzWithoutLabelsHasNoSecondArray) {
  const tests::ScratchDirectory scratch;
  write_samples(scratch.path() / "x.npz", at::arange(4, at::kByte).reshape({1, 1, 2, 2}), {}, {});
  EXPECT_EQ(data::read_npz(scratch.path() / "x.npz").size(), 1U);
}

TEST(SampleFile, APngIsAGridInTheSamplesOrder) {
  const tests::ScratchDirectory scratch;
  const at::Tensor images = at::arange(100, 105, at::kByte).reshape({5, 1, 1, 1});
  write_samples(scratch.path() / "x.png", images, {}, {.columns = 0, .zoom = 3});
  // 3 columns and 2 rows of pixels shown 3x3, between margins of 2 pixels shown as large: tiles start 9 apart.
  const data::Image image = data::read_image(scratch.path() / "x.png");
  ASSERT_EQ(image.shape, (data::ImageShape{1, 6 + 9 * 2, 6 + 9 * 3}));
  const auto pixel = [&](int64_t row, int64_t column) { return image.pixels[static_cast<size_t>(row * 33 + column)]; };
  EXPECT_EQ(pixel(6, 6), 100);
  EXPECT_EQ(pixel(8, 8), 100);
  EXPECT_EQ(pixel(9, 9), pixel(0, 0));
  EXPECT_EQ(pixel(7, 15), 101);
  EXPECT_EQ(pixel(7, 24), 102);
  EXPECT_EQ(pixel(15, 6), 103);
  EXPECT_EQ(pixel(16, 17), 104);
  EXPECT_EQ(pixel(16, 25), pixel(0, 0));
}

TEST(SampleFile, IsTriedBeforeAnythingIsComputed) {
  const tests::ScratchDirectory scratch;
  EXPECT_NO_THROW(check_writable(scratch.path() / "x.png"));
  EXPECT_TRUE(std::filesystem::is_empty(scratch.path()));
  EXPECT_TRUE(has(error_text([&] { check_writable(scratch.path() / "x.jpg"); }), {"x.jpg", ".png", ".npz"}));
  EXPECT_TRUE(has(error_text([&] { check_writable(scratch.path() / "none" / "x.png"); }), {"no folder", "none"}));
  std::filesystem::create_directory(scratch.path() / "folder.png");
  EXPECT_TRUE(has(error_text([&] { check_writable(scratch.path() / "folder.png"); }), {"is a folder"}));
  EXPECT_TRUE(has(error_text([&] { check_writable("/sys/x.png"); }), {"/sys/x.png", "cannot be written"}));
}

}  // namespace
}  // namespace cfm::evaluator
