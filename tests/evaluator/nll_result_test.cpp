#include "evaluator/nll_result.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "evaluator/result_file.h"
#include "support/error_text.h"

namespace cfm::evaluator {
namespace {

constexpr double kLog2 = std::numbers::ln2;

// log p of an image of 4 dimensions that has so many bits/dim.
double log_p(double bits) { return -(bits - 7) * 4 * kLog2; }

DrawRecords some_records() {
  DrawRecords records;
  const auto add = [&](int64_t image, int64_t k, double bits, int64_t nfe) {
    records[{image, k}] = {.image = image, .k = k, .log_p = log_p(bits), .nfe = nfe};
  };
  add(0, 0, 3.0, 98);
  add(0, 1, 3.0, 104);
  add(1, 0, 3.5, 110);
  add(1, 1, 4.5, 80);
  add(3, 0, 5.0, 50);  // not all of its draws are there
  return records;
}

TEST(NllResult, IsTheMeanOverImagesOfTheirDrawsMeanProbability) {
  const DrawRecords records = some_records();
  const std::vector<ImageNll> images = images_of(records, 2, 4);
  ASSERT_EQ(images.size(), 2U);
  EXPECT_NEAR(images[0].bits, 3, 1e-12);
  const double second = -std::log2((std::exp2(-4 * 3.5) + std::exp2(-4 * 4.5)) / 2) / 4;
  EXPECT_NEAR(images[1].bits, second, 1e-12);
  EXPECT_NEAR(images[1].bits_first, 3.5, 1e-12);
  EXPECT_EQ(images[1].nfe, 190);
  const NllSummary summary = summary_of(images, records);
  EXPECT_NEAR(summary.all_draws.bits, (3 + second) / 2, 1e-12);
  EXPECT_NEAR(summary.all_draws.standard_error, (second - 3) / 2, 1e-12);  // of two values: half their difference
  EXPECT_NEAR(summary.first_draw.bits, 3.25, 1e-12);
  EXPECT_NEAR(summary.first_draw.standard_error, 0.25, 1e-12);
  EXPECT_EQ(summary.nfe_min, 50);
  EXPECT_EQ(summary.nfe_max, 110);
  EXPECT_NEAR(summary.nfe_mean, (98 + 104 + 110 + 80 + 50) / 5., 1e-12);
}

TEST(NllResult, HoldsTheValueOfOneDrawBesideThatOfSeveral) {
  const DrawRecords records = some_records();
  const auto json = json_of(summary_of(images_of(records, 2, 4), records), 2);
  EXPECT_EQ(json.at("images"), 2);
  EXPECT_NEAR(json.at("one_draw").at("bits_per_dim").get<double>(), 3.25, 1e-12);
  EXPECT_EQ(json.at("nfe").at("max"), 110);
  const auto single = json_of(summary_of(images_of(records, 1, 4), records), 1);
  EXPECT_FALSE(single.contains("one_draw"));
  EXPECT_TRUE(single.at("standard_error").is_null());  // image 3 alone has one draw
}

TEST(NllResult, TheTableHasALineAnImage) {
  const std::string csv = csv_of({{.image = 1, .bits = 3.25, .bits_first = 3.5, .nfe = 190}}, {4, 9});
  EXPECT_EQ(csv, "image,label,nfe,bits_per_dim,bits_per_dim_first_draw\n1,9,190,3.25,3.5\n");
}

TEST(ResultFile, IsNamedByMetricStepAndTag) {
  const ResultFile file{"run/results", "nll", 12000, "abc"};
  EXPECT_EQ(file.json(), "run/results/nll-step_000012000-abc.json");
  EXPECT_EQ(file.csv(), "run/results/nll-step_000012000-abc.csv");
}

TEST(ResultFile, AnySettingThatDiffersMakesAnotherTagAndIsNamed) {
  const Json settings{{"seed", 0}, {"rtol", 1e-5}};
  Json other = settings;
  other["rtol"] = 1e-4;
  EXPECT_EQ(tag_of(settings), tag_of(Json::parse(settings.dump())));
  EXPECT_NE(tag_of(settings), tag_of(other));
  EXPECT_EQ(tag_of(settings).size(), 10U);
  check_same_settings(settings, settings, "x");
  EXPECT_TRUE(test::has(test::error_text([&] { check_same_settings(settings, other, "nll-a.json"); }),
                        {"nll-a.json", "--tag", "rtol: there 1e-05, here 0.0001"}));
}

}  // namespace
}  // namespace cfm::evaluator
