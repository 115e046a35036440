// RUN/failures.jsonl of real runs: an error, a killed rank, a run that was killed as a whole.

#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <fstream>
#include <thread>

#include "support/processes.h"
#include "support/training_run.h"

namespace cfm::test {
namespace {

class Failures : public testing::Test {
 protected:
  std::vector<std::string> command(int ranks, const std::vector<std::string>& more) const {
    return mpirun(ranks, 2) + with_flags(small_run(data_, run_), more);
  }
  void wait_for_steps(Running& job) const {
    while (!job.ended() && losses(run_).size() < 3) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  std::vector<nlohmann::json> failures() const {
    std::vector<nlohmann::json> lines;
    std::ifstream in(run_ / "failures.jsonl");
    for (std::string line; std::getline(in, line);) lines.push_back(nlohmann::json::parse(line));
    return lines;
  }

  TemporaryFolder folder_;
  std::string data_ = digit_shards(folder_.path(), "train", 0, 64);
  std::filesystem::path run_ = folder_.path() / "run";
};

TEST_F(Failures, ARefusalOfARunThatIsThisJobsIsALine) {
  ASSERT_EQ(run(command(2, {"--steps=1"}), folder_.path() / "log").exit_code, 0);
  EXPECT_EQ(failures().size(), 0U);
  ASSERT_EQ(run(command(2, {"--steps=2", "--seed=4"}), folder_.path() / "log").exit_code, 2);
  ASSERT_EQ(failures().size(), 1U);
  EXPECT_EQ(failures()[0].at("cause"), "error");
  EXPECT_EQ(failures()[0].at("exit_code"), 2);
  EXPECT_NE(failures()[0].at("what").get<std::string>().find("--seed is 4"), std::string::npos);
}

TEST_F(Failures, AKilledRankIsNamedWithItsPhaseAndStepByAnotherAndTheNextStartAddsNothing) {
  Running job(command(2, {"--steps=1000000"}), folder_.path() / "log");
  wait_for_steps(job);
  const std::vector<int> ranks = ranks_below(job.pid(), "cfm_train");
  ASSERT_EQ(ranks.size(), 2U);
  kill(ranks[1], SIGKILL);
  const Finished finished = job.wait();
  EXPECT_NE(finished.exit_code, 0);
  ASSERT_EQ(failures().size(), 1U) << finished.output;
  const nlohmann::json gone = failures()[0];
  EXPECT_EQ(gone.at("cause"), "gone");
  EXPECT_NE(finished.output.find("is gone: its process was killed"), std::string::npos) << finished.output;
  EXPECT_EQ(gone.at("ranks").size(), 2U);
  EXPECT_FALSE(gone.at("phase").get<std::string>().empty());
  EXPECT_EQ(gone.at("told_by").get<int>() + gone.at("rank").get<int>(), 1) << "one tells of the other";
  ASSERT_EQ(run(command(2, {"--steps=1"}), folder_.path() / "log").exit_code, 0);
  EXPECT_EQ(failures().size(), 1U);
}

TEST_F(Failures, ARunThatWasKilledAsAWholeIsToldOfByTheNextStart) {
  Running job(command(0, {"--steps=1000000"}), folder_.path() / "log");
  wait_for_steps(job);
  kill(job.pid(), SIGKILL);
  job.wait();
  EXPECT_EQ(failures().size(), 0U);
  const long last = losses(run_).rbegin()->first;
  const Finished next = run(command(2, {"--steps=1"}), folder_.path() / "log");
  ASSERT_EQ(next.exit_code, 0) << next.output;
  ASSERT_EQ(failures().size(), 1U);
  EXPECT_EQ(failures()[0].at("cause"), "unsaid");
  EXPECT_EQ(failures()[0].at("step"), last);
  EXPECT_NE(next.output.find("start 1 of this run ended without a word"), std::string::npos) << next.output;
  ASSERT_EQ(run(command(2, {"--steps=2"}), folder_.path() / "log").exit_code, 0);
  EXPECT_EQ(failures().size(), 1U);
}

}  // namespace
}  // namespace cfm::test
