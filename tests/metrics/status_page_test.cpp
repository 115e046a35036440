#include "metrics/status_page.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "support/scratch_directory.h"

namespace cfm::metrics {
namespace {

nlohmann::json shown(const StatusPage& page) { return nlohmann::json::parse(page.pages().at("/status.json")().body); }

StatusNumbers step(int64_t number, double loss) {
  return {.step = number, .last_step = 1000, .loss = loss, .phase_seconds = {{"forward", 0.1}}};
}

TEST(StatusPage, SaysWhatAStartIsAtAndHowFarTheRunIsToGo) {
  StatusPage page("digits", 1000);
  page.put_stage("data");
  const nlohmann::json begun = shown(page);
  EXPECT_EQ(begun.at("run"), "digits");
  EXPECT_EQ(begun.at("stage"), "data");
  EXPECT_EQ(begun.at("step"), 0);
  EXPECT_EQ(begun.at("last_step"), 1000);
  EXPECT_TRUE(begun.at("phases").empty()) << "by which the page knows that there are no numbers yet";
  page.put_stage("training");
  page.put(step(1, 2));
  EXPECT_EQ(shown(page).at("stage"), "training");
  EXPECT_EQ(shown(page).at("step"), 1);
}

TEST(StatusPage, GoesOnWithWhatTheRunHadBeforeItsRestart) {
  const tests::ScratchDirectory folder;
  StatusPage page("digits", 1000);
  page.put_start(30, {{10, 4.0}, {20, 3.0}, {30, 2.5}});
  page.put_checkpoint(30);
  page.put_samples(folder.write("step_000000020.png", "png"));
  const nlohmann::json begun = shown(page);
  EXPECT_EQ(begun.at("step"), 30);
  EXPECT_EQ(begun.at("checkpoint"), 30);
  EXPECT_EQ(begun.at("samples"), "step_000000020.png");
  EXPECT_EQ(page.pages().at("/samples.png")().body, "png");
  EXPECT_EQ(begun.at("losses"), nlohmann::json::parse("[[10, 4.0], [20, 3.0], [30, 2.5]]"));
  page.put(step(31, 2));
  page.put(step(32, 1));
  EXPECT_EQ(shown(page).at("losses"), nlohmann::json::parse("[[10, 4.0], [20, 3.0], [30, 2.5], [31, 2.0], [32, 1.0]]"));
}

// However long a run was, the curve is short, spans all of it and has its mean.
TEST(StatusPage, JoinsNeighboursOfALongCurve) {
  std::vector<std::pair<int64_t, double>> before;
  for (int64_t i = 1; i <= 5000; ++i) before.emplace_back(10 * i, 1.0);
  StatusPage page("digits", 1'000'000);
  page.put_start(50'000, before);
  for (int64_t i = 50'001; i <= 55'000; ++i) page.put(step(i, 3.0));
  const nlohmann::json losses = shown(page).at("losses");
  EXPECT_GE(losses.size(), 400U);
  EXPECT_LT(losses.size(), 800U);
  EXPECT_LT(losses.front()[0].get<int64_t>(), 1000);
  EXPECT_GT(losses.back()[0].get<int64_t>(), 54'000);
  int64_t last = 0;
  double sum = 0;
  for (const nlohmann::json& point : losses) {
    EXPECT_GT(point[0].get<int64_t>(), last);
    last = point[0];
    sum += point[1].get<double>();
  }
  EXPECT_NEAR(sum / static_cast<double>(losses.size()), 2, 0.01) << "as many of 1 as of 3";
}

TEST(StatusPage, LeavesNoGapInALongCurveForALossThatIsNotFinite) {
  StatusPage page("digits", 1'000'000);
  for (int64_t i = 1; i <= 100'000; ++i) page.put(step(i, i % 500 == 0 ? std::nan("") : 2.0));
  const nlohmann::json losses = shown(page).at("losses");
  EXPECT_GE(losses.size(), 400U);
  for (const nlohmann::json& point : losses) EXPECT_EQ(point[1], 2.0) << point[0];
}

TEST(StatusPage, HasNoWordsForNumbersThatAreNotFinite) {
  StatusPage page("digits", 1000);
  page.put(step(1, std::nan("")));
  EXPECT_TRUE(shown(page).at("loss").is_null());
}

}  // namespace
}  // namespace cfm::metrics
