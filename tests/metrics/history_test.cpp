#include "metrics/history.h"

#include <gtest/gtest.h>

#include "metrics/event_log.h"
#include "support/scratch_directory.h"

namespace cfm::metrics {
namespace {

using Losses = std::vector<std::pair<int64_t, double>>;

class RunHistory : public testing::Test {
 protected:
  // A line at so many seconds past 23:59 on the last day of February of a leap year.
  void at(double seconds, int attempt, const std::string& event, int64_t step, const std::string& more = "") {
    const bool next_day = seconds >= 60;
    char time[40];
    std::snprintf(time, sizeof time, "2028-0%d-%02dT%s:%06.3fZ", next_day ? 3 : 2, next_day ? 1 : 29,
                  next_day ? "00:00" : "23:59", seconds - (next_day ? 60 : 0));
    text_ += "{\"time\":\"" + std::string(time) + "\",\"attempt\":" + std::to_string(attempt) + ",\"event\":\"" +
             event + "\",\"step\":" + std::to_string(step) + more + "}\n";
  }
  void step(double seconds, int attempt, int64_t number, const std::string& loss) {
    at(seconds, attempt, "step", number, ",\"loss\":" + loss);
  }
  History before(int64_t step) { return history_before(scratch_.write("events.jsonl", text_), step); }

  tests::ScratchDirectory scratch_;
  std::string text_;
};

TEST_F(RunHistory, IsEmptyWhereNothingHasBeen) {
  const History history = history_before(scratch_ / "none", 0);
  EXPECT_TRUE(history.losses.empty());
  EXPECT_EQ(history.lost_steps, 0);
  EXPECT_EQ(history.lost_seconds, 0);
}

TEST_F(RunHistory, LosesWhatTheLastStartHadMadeBeyondItsCheckpoint) {
  at(1, 1, "start", 0);
  step(10, 1, 10, "3");
  step(20.5, 1, 20, "2");
  at(23, 1, "checkpoint", 20);  // known of later than it was made
  step(55, 1, 50, "1.5");
  at(70.25, 1, "validation", 50);  // beyond midnight
  const History history = before(20);
  EXPECT_EQ(history.lost_steps, 30);
  EXPECT_DOUBLE_EQ(history.lost_seconds, 70.25 - 20.5);
  EXPECT_EQ(history.losses, (Losses{{10, 3}, {20, 2}}));
}

TEST_F(RunHistory, LosesAllOfAStartThatCameToNoCheckpoint) {
  at(1, 1, "start", 0);
  step(2, 1, 400, "1");
  at(30, 2, "start", 100);
  at(30, 2, "rewind_to", 100);
  step(40, 2, 130, "2");
  const History history = before(100);
  EXPECT_EQ(history.lost_steps, 30) << "not the 300 that were lost before";
  EXPECT_DOUBLE_EQ(history.lost_seconds, 10);
}

TEST_F(RunHistory, LosesAllOfAStartFromACheckpointThatIsDamagedNow) {
  at(1, 1, "start", 0);
  step(2, 1, 100, "1");
  at(30, 2, "start", 100);
  step(44, 2, 130, "2");
  const History history = before(50);
  EXPECT_EQ(history.lost_steps, 80);
  EXPECT_DOUBLE_EQ(history.lost_seconds, 14);
}

TEST_F(RunHistory, LosesNothingAfterAStop) {
  at(1, 1, "start", 0);
  step(10, 1, 30, "3");
  at(20, 1, "stop", 33);
  const History history = before(33);
  EXPECT_EQ(history.lost_steps, 0);
  EXPECT_EQ(history.lost_seconds, 0);
}

TEST_F(RunHistory, KeepsTheLossesThatHold) {
  at(1, 1, "start", 0);
  step(2, 1, 10, "9");
  step(3, 1, 20, "8");
  step(4, 1, 25, "7.5");
  step(5, 1, 30, "7");
  at(6, 2, "start", 20);  // 25 and 30 are made again, and logged less often
  step(7, 2, 30, "6");
  step(8, 2, 40, "\"nan\"");
  step(9, 2, 50, "5");
  step(10, 2, 60, "4");
  text_ += "torn {\n[1]\n{\"attempt\":\"2\"}\n{\"time\":\"2028";
  EXPECT_EQ(before(50).losses, (Losses{{10, 9}, {20, 8}, {30, 6}, {50, 5}}));
}

// What EventLog writes is what is read.
TEST_F(RunHistory, ReadsTheEventLog) {
  const std::filesystem::path file = scratch_ / "log.jsonl";
  {
    EventLog log(file);
    log.write("start", {{"step", int64_t{0}}});
    log.write("step", {{"step", int64_t{1}}, {"loss", 0.5}});
    log.write("step", {{"step", int64_t{2}}, {"loss", 0.25}});
  }
  const History history = history_before(file, 1);
  EXPECT_EQ(history.losses, (Losses{{1, 0.5}}));
  EXPECT_EQ(history.lost_steps, 1);
  EXPECT_GE(history.lost_seconds, 0);
  EXPECT_LT(history.lost_seconds, 3600);
}

}  // namespace
}  // namespace cfm::metrics
