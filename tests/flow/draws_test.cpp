#include "flow/draws.h"

#include <ATen/TensorOperators.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "flow/pixels.h"
#include "support/flow_tensors.h"

namespace cfm::flow {
namespace {

using ::testing::HasSubstr;

const std::vector<int64_t> kShape{3, 5, 7};  // 105 elements: the last block of a row is partial
// Of a step that begins at `first`.
Draws draws_of(const DrawConfig& config, uint64_t first, int64_t count, at::IntArrayRef image_shape) {
  return make_draws(config, {.images_seen = first, .global_batch = count, .first = 0, .count = count}, image_shape);
}

const DrawConfig kConfig{.seed = 2210, .horizontal_flip = true, .label_drop = 0.3, .null_class = 10};

TEST(Draws, DoNotDependOnHowARangeIsCutIntoBatches) {
  const uint64_t first = (uint64_t{1} << 32) - 7;  // the range crosses 2^32
  const Draws whole = draws_of(kConfig, first, 20, kShape);
  for (const std::vector<int64_t>& cut : {std::vector<int64_t>{1, 19}, {7, 7, 6}, {20}, {3, 0, 17}}) {
    int64_t at = 0;
    for (const int64_t size : cut) {
      const Draws part = draws_of(kConfig, first + static_cast<uint64_t>(at), size, kShape);
      EXPECT_TRUE(part.u.equal(whole.u.narrow(0, at, size)));
      EXPECT_TRUE(part.x0.equal(whole.x0.narrow(0, at, size)));
      EXPECT_TRUE(part.t.equal(whole.t.narrow(0, at, size)));
      EXPECT_TRUE(part.flip.equal(whole.flip.narrow(0, at, size)));
      EXPECT_TRUE(part.drop.equal(whole.drop.narrow(0, at, size)));
      at += size;
    }
  }
}

TEST(Draws, EachRowIsTheStreamOfItsPurposeAndDraw) {
  const Draws draws = draws_of(kConfig, 1000, 4, kShape);
  EXPECT_EQ(draws.x0.sizes(), (at::IntArrayRef{4, 3, 5, 7}));
  EXPECT_EQ(draws.t.sizes(), at::IntArrayRef{4});
  for (int64_t i = 0; i < 4; ++i) {
    const uint64_t draw = 1000 + static_cast<uint64_t>(i);
    std::vector<float> noise(105), offsets(105), time(1);
    fill_normal(noise, {2210, Purpose::kNoise, draw});
    fill_uniform(offsets, {2210, Purpose::kDequantise, draw});
    fill_uniform(time, {2210, Purpose::kTime, draw});
    EXPECT_TRUE(draws.x0[i].flatten().equal(at::tensor(noise)));
    EXPECT_TRUE(draws.u[i].flatten().equal(at::tensor(offsets)));
    EXPECT_EQ(draws.t[i].item<double>(), time[0]);
  }
}

TEST(Draws, ChancesAreWhatTheConfigurationSays) {
  const int64_t n = 100000;
  const Draws draws = draws_of(kConfig, 0, n, {1, 1, 1});
  const auto share = [&](const at::Tensor& chosen) { return chosen.to(at::kDouble).mean().item<double>(); };
  EXPECT_NEAR(share(draws.flip), 0.5, 4 * std::sqrt(0.25 / n));
  EXPECT_NEAR(share(draws.drop), 0.3, 4 * std::sqrt(0.21 / n));
  EXPECT_NEAR(share(draws.flip.logical_and(draws.drop)), 0.15, 4 * std::sqrt(0.13 / n));
  EXPECT_NEAR(share(draws.t), 0.5, 4 * std::sqrt(1.0 / 12 / n));
  EXPECT_LT(draws.t.max().item<double>(), 1);
  EXPECT_GE(draws.t.min().item<double>(), 0);
  const Draws never = draws_of({.seed = 2210}, 0, 1000, {1, 1, 1});
  EXPECT_FALSE(never.flip.any().item<bool>());
  EXPECT_FALSE(never.drop.any().item<bool>());
  const Draws always = draws_of({.seed = 2210, .label_drop = 1, .null_class = 0}, 0, 1000, {1, 1, 1});
  EXPECT_TRUE(always.drop.all().item<bool>());
}

TEST(Draws, SlotsTakeTheNoiseOfTheDrawsThatTheyAreGiven) {
  const StepSlots slots{.images_seen = 40, .global_batch = 8, .first = 2, .count = 3};
  const Draws own = make_draws(kConfig, slots, kShape);
  const std::vector<uint64_t> from{44, 47, 42};
  const Draws moved = make_draws(kConfig, slots, kShape, from);
  EXPECT_TRUE(moved.x0[0].equal(own.x0[2]));
  EXPECT_TRUE(moved.x0[1].equal(keyed_normal(2210, Purpose::kNoise, 47, 1, kShape)[0]));
  EXPECT_TRUE(moved.x0[2].equal(own.x0[0]));
  EXPECT_TRUE(moved.u.equal(own.u) && moved.t.equal(own.t) && moved.flip.equal(own.flip) && moved.drop.equal(own.drop));
}

TEST(Draws, NoTwoDrawsPurposesOrSeedsShareTheirNoise) {
  const at::Tensor noise = draws_of(kConfig, 0, 2, kShape).x0;
  EXPECT_FALSE(noise[0].equal(noise[1]));
  EXPECT_FALSE(noise[0].equal(draws_of({.seed = 2211}, 0, 1, kShape).x0[0]));
  EXPECT_FALSE(noise[0].equal(keyed_normal(2210, Purpose::kSampleNoise, 0, 1, kShape)[0]));
  EXPECT_FALSE(noise[0].equal(draws_of(kConfig, uint64_t{1} << 32, 1, kShape).x0[0]));
}

TEST(Draws, FlipsMirrorTheImageAndNothingElse) {
  Draws draws = draws_of(kConfig, 0, 2, {1, 2, 3});
  draws.flip = at::tensor(std::vector<int64_t>{0, 1}).to(at::kBool);
  const at::Tensor bytes =
      at::tensor(std::vector<int64_t>{1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6}).to(at::kByte).view({2, 1, 2, 3});
  const at::Tensor mirrored =
      at::tensor(std::vector<int64_t>{1, 2, 3, 4, 5, 6, 3, 2, 1, 6, 5, 4}).to(at::kByte).view({2, 1, 2, 3});
  const at::Tensor x1 = to_x1(bytes, draws);
  EXPECT_TRUE(to_bytes(x1).equal(mirrored));
  EXPECT_LT(tests::largest_difference(((x1 + 1) * 128 - mirrored), draws.u), 2e-5);
}

TEST(Draws, AnEmptyBatchIsAnOrdinaryCase) {
  EXPECT_EQ(draws_of(kConfig, 5, 0, kShape).x0.sizes(), (at::IntArrayRef{0, 3, 5, 7}));
}

TEST(Draws, TheConfigurationIsCheckedAsAWhole) {
  EXPECT_TRUE(kConfig.validate().empty());
  EXPECT_TRUE(DrawConfig{}.validate().empty());
  const Problems problems = DrawConfig{.label_drop = 1.5}.validate();
  ASSERT_EQ(problems.size(), 2U);
  EXPECT_THAT(problems[0], HasSubstr("--label_drop=1.5"));
  EXPECT_THAT(problems[1], HasSubstr("null class"));
}

}  // namespace
}  // namespace cfm::flow
