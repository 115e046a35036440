#include "evaluator/labels.h"

#include <gtest/gtest.h>

#include "support/error_text.h"
#include "support/tiny_weights.h"

namespace cfm::evaluator {
namespace {

using test::error_text;
using test::has;
using test::tiny_unet;
using Labels = std::vector<int64_t>;

TEST(SampleLabels, AreTheClassesInTurnUnlessNamed) {
  EXPECT_EQ(label_cycle("", tiny_unet(3)), (Labels{0, 1, 2}));
  EXPECT_EQ(label_cycle("all", tiny_unet(3)), (Labels{0, 1, 2}));
  EXPECT_EQ(labels_of({0, 1, 2}, 4, 5), (Labels{1, 2, 0, 1, 2}));
}

TEST(SampleLabels, AreThoseNamedInTurn) {
  EXPECT_EQ(label_cycle("2", tiny_unet(3)), Labels{2});
  EXPECT_EQ(label_cycle("2,0,2", tiny_unet(3)), (Labels{2, 0, 2}));
}

TEST(SampleLabels, OfANetworkWithoutClassesAreNone) {
  EXPECT_TRUE(label_cycle("", tiny_unet(0)).empty());
  EXPECT_TRUE(label_cycle("none", tiny_unet(0)).empty());
  EXPECT_TRUE(labels_of({}, 0, 5).empty());
}

TEST(SampleLabels, NoneIsTheNullClass) { EXPECT_EQ(label_cycle("none", tiny_unet(3, /*null_class=*/true)), Labels{3}); }

TEST(SampleLabels, ThatTheNetworkDoesNotHaveAreRefused) {
  const auto refusal = [](const std::string& labels, const models::UNetConfig& model) {
    return error_text([&] { label_cycle(labels, model); });
  };
  EXPECT_TRUE(has(refusal("3", tiny_unet(3)), {"--labels=3", "0..2"}));
  EXPECT_TRUE(has(refusal("-1", tiny_unet(3)), {"'-1'", "0..2"}));
  EXPECT_TRUE(has(refusal("1,cat", tiny_unet(3)), {"'cat'"}));
  EXPECT_TRUE(has(refusal("1,,2", tiny_unet(3)), {"''"}));
  EXPECT_TRUE(has(refusal("3", tiny_unet(3, true)), {"0..2"}));
  EXPECT_TRUE(has(refusal("none", tiny_unet(3)), {"null class"}));
  EXPECT_TRUE(has(refusal("1", tiny_unet(0)), {"no classes"}));
}

}  // namespace
}  // namespace cfm::evaluator
