// Signals, however many and whenever they come, save a run and never kill a rank.

#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <thread>

#include "base/durable_file.h"
#include "support/training_run.h"

namespace cfm::test {
namespace {

using std::chrono::milliseconds;

class Signals : public testing::Test {
 protected:
  std::vector<std::string> command(int ranks) const {
    return mpirun(ranks) + small_run(data_, folder_.path() / "run") + std::vector<std::string>{"--steps=1000000"};
  }
  void wait_for_steps(Running& job) const {
    while (!job.ended() && losses(folder_.path() / "run").size() < 3) std::this_thread::sleep_for(milliseconds(5));
  }
  bool saved() const { return std::filesystem::exists(folder_.path() / "run" / "checkpoints"); }

  TemporaryFolder folder_;
  std::string data_ = digit_shards(folder_.path(), "train", 0, 64);
};

TEST_F(Signals, TwoInQuickSuccessionStillSaveAndAskForRequeueing) {
  Running job(command(2), folder_.path() / "log");
  wait_for_steps(job);
  kill(job.pid(), SIGUSR1);
  kill(job.pid(), SIGUSR2);
  const Finished finished = job.wait();
  EXPECT_EQ(finished.exit_code, 75) << finished.output;
  EXPECT_TRUE(saved());
}

// Until the process is gone: while it saves, leaves MPI and ends.
TEST_F(Signals, AsManyAsComeUntilTheEndDoNotKillARankThatHasSaved) {
  Running job(command(0), folder_.path() / "log");
  wait_for_steps(job);
  for (int n = 0; !job.ended(); ++n) {
    kill(job.pid(), n % 2 == 0 ? SIGUSR1 : SIGTERM);
    std::this_thread::sleep_for(milliseconds(1));
  }
  const Finished finished = job.wait();
  EXPECT_EQ(finished.exit_code, 75) << finished.output;
  EXPECT_TRUE(saved());
}

TEST_F(Signals, OneThatComesBeforeTheFirstStepIsMetAfterIt) {
  Running job(command(0), folder_.path() / "log");
  while (!job.ended() && read_file(folder_.path() / "log").empty()) std::this_thread::sleep_for(milliseconds(1));
  kill(job.pid(), SIGTERM);
  const Finished finished = job.wait();
  EXPECT_EQ(finished.exit_code, 75) << finished.output;
  EXPECT_LE(losses(folder_.path() / "run").size(), 3U);
}

}  // namespace
}  // namespace cfm::test
