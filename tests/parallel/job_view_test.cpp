#include "parallel/job_view.h"

#include <gtest/gtest.h>

#include "support/error_text.h"

namespace cfm::parallel {
namespace {

using test::has;

// Rank 0's view of four at work in step 7, all heard of now; limit 10 s, silence 12 s.
JobView at_work() {
  JobView view{.config = {}, .rank = 0, .hosts = {"n1", "n1", "n2", "n2"}, .monitors = {0, 2}, .heard = {}, .now = 100};
  for (int rank = 0; rank < 4; ++rank) {
    Heard heard;
    heard.beat.step = 7;
    heard.beat.limit = 10;
    heard.beat.progress_time = 50;
    heard.at = view.now;
    view.heard.push_back(heard);
  }
  return view;
}

TEST(Monitors, AreOnTwoMachinesWhereThereAreTwo) {
  EXPECT_EQ(monitors_of({"n1"}), std::vector<int>{0});
  EXPECT_EQ(monitors_of({"n1", "n1", "n1"}), (std::vector<int>{0, 1}));
  EXPECT_EQ(monitors_of({"n1", "n1", "n2", "n2"}), (std::vector<int>{0, 2}));
  EXPECT_EQ(monitors_of({"n1", "n2", "n1", "n2"}), (std::vector<int>{0, 1}));
}

TEST(JobView, OfRanksThatGetOnHasNoProblem) { EXPECT_FALSE(at_work().problem()); }

TEST(JobView, BlamesTheRankThatIsFurthestBehindWhichNeedNotBeTheOneThatIsOverdue) {
  JobView view = at_work();
  for (Heard& heard : view.heard) heard.beat.idle_seconds = 11;
  view.heard[3].beat.step = 6;
  view.heard[3].beat.idle_seconds = 9;
  const auto problem = view.problem();
  ASSERT_TRUE(problem);
  EXPECT_EQ(problem->rank, 3U);
  EXPECT_STREQ(problem->cause, "no progress");
  EXPECT_TRUE(has(problem->text, {"rank 3 on host n2", "step 6", "9.0 s"})) << problem->text;
}

TEST(JobView, BlamesWhomNobodyHasHeardOfForTooLong) {
  JobView view = at_work();
  view.heard[2].at = view.now - 13;
  const auto problem = view.problem();
  ASSERT_TRUE(problem);
  EXPECT_EQ(problem->rank, 2U);
  EXPECT_STREQ(problem->cause, "silent");
}

TEST(JobView, DoesNotMindRanksThatWaitUnlessAllDo) {
  JobView view = at_work();
  for (size_t r = 1; r < 4; ++r) view.heard[r].beat.waits = 1;
  for (size_t r = 1; r < 4; ++r) view.heard[r].beat.idle_seconds = 1000;
  EXPECT_FALSE(view.problem()) << "rank 0 works";
  view.heard[0].beat.waits = 1;
  view.heard[0].beat.idle_seconds = 11;
  EXPECT_TRUE(view.problem());
}

// The second monitor speaks only where the first has had its time to.
TEST(JobView, OfTheSecondMonitorHasPatience) {
  JobView first = at_work();
  first.heard[1].at = first.now - 13;
  JobView second = first;
  second.rank = 2;
  EXPECT_TRUE(first.problem());
  EXPECT_FALSE(second.problem());
  second.now += 2 * second.config.heartbeat.count() + 1;
  for (const size_t r : {0, 3}) second.heard[r].at = second.now;
  EXPECT_TRUE(second.problem());
}

}  // namespace
}  // namespace cfm::parallel
