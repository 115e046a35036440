// Signals, however many and whenever they come, save a run and never kill a rank.

#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <filesystem>
#include <fstream>
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

// What a signal meets in each phase of a run. Phases that are too short on this data are held up by CFM_FAIL_AT
// (base/failpoint.h), and let go once the signal has come.
//
//   phase                        held by                     what is seen                          steps made
//   start                        create .writable            75 when the data would be read        none
//   waiting for another's run    its lease                   75 at once (ownership_test)           none
//   reading into memory          create .writable, mode ram  75 before the next piece              none
//   copying to --stage_dir       create of the copy          75 before the next piece, no copy left none
//   a step                       -                           75 after the next step, saved         some
//   held-out losses              much to evaluate            75, look left, saved                  at most two more
//   a grid of samples            much to draw                75, look left, saved                  at most two more
//   a checkpoint's commit        rename                      75, that checkpoint committed, saved  some
class SignalIn : public Signals {
 protected:
  struct Phase {
    std::string fail_at;             // OPERATION:PART:N; empty: not held
    std::vector<std::string> flags;  // that make the phase what it is
    long after_step = -1;            // the signal comes once this step was written of, and a moment
    double longest = 40;             // seconds from the signal to the end
  };
  struct Seen {
    Finished finished;
    double seconds = 0;  // from the signal to the end
    size_t steps = 0;
  };

  Seen signal_in(const Phase& phase) const {
    const auto go = folder_.path() / "go";
    std::vector<std::string> program =
        with_flags(small_run(data_, folder_.path() / "run"), std::vector<std::string>{"--steps=1000000"} + phase.flags);
    if (!phase.fail_at.empty())
      program = std::vector<std::string>{"env", "CFM_FAIL_AT=" + phase.fail_at + ":" + go.string()} + program;
    Running job(mpirun(2) + program, folder_.path() / "log");
    const auto ready = [&] {
      const auto made = losses(folder_.path() / "run");
      return phase.after_step < 0 ? !read_file(folder_.path() / "log").empty()
                                  : !made.empty() && made.rbegin()->first >= phase.after_step;
    };
    while (!job.ended() && !ready()) std::this_thread::sleep_for(milliseconds(5));
    std::this_thread::sleep_for(milliseconds(700));  // into the phase
    EXPECT_FALSE(job.ended()) << read_file(folder_.path() / "log");
    const auto start = std::chrono::steady_clock::now();
    kill(job.pid(), SIGUSR1);
    std::this_thread::sleep_for(milliseconds(300));
    std::ofstream(go) << "go";
    Seen seen{.finished = job.wait()};
    seen.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    seen.steps = losses(folder_.path() / "run").size();
    EXPECT_EQ(seen.finished.exit_code, 75) << seen.finished.output;
    EXPECT_LT(seen.seconds, phase.longest) << seen.finished.output;
    return seen;
  }
};

TEST_F(SignalIn, TheStartEndsItBeforeDataAreRead) {
  const Seen seen = signal_in({.fail_at = "create:.writable:1", .flags = {"--data_mode=ram"}});
  EXPECT_EQ(seen.steps, 0U);
  EXPECT_FALSE(saved());
  EXPECT_NE(seen.finished.output.find("stopped by a signal while"), std::string::npos) << seen.finished.output;
}

TEST_F(SignalIn, ACopyToLocalDiskEndsItAndLeavesNoCopy) {
  const auto stage = folder_.path() / "stage";
  const Seen seen = signal_in({.fail_at = "create:.h5.tmp:1", .flags = {"--stage_dir=" + stage.string()}});
  EXPECT_EQ(seen.steps, 0U);
  EXPECT_NE(seen.finished.output.find("stopped by a signal while"), std::string::npos) << seen.finished.output;
  EXPECT_TRUE(std::filesystem::is_empty(stage));
}

TEST_F(SignalIn, AStepSavesBehindTheNextOne) {
  signal_in({.fail_at = "", .flags = {}, .after_step = 3});
  EXPECT_TRUE(saved());
}

TEST_F(SignalIn, HeldOutLossesLeavesThemAndSaves) {
  const std::string val = digit_shards(folder_.path(), "val", 64, 1000);  // seconds of single images
  const Seen seen =
      signal_in({.fail_at = "", .flags = {"--val_data=" + val, "--val_every=1", "--net_batch=1"}, .after_step = 1});
  EXPECT_TRUE(saved());
  EXPECT_LE(seen.steps, 4U);
  EXPECT_LT(events(folder_.path() / "run", "validation").size(), 2 * seen.steps) << "each look was finished";
}

TEST_F(SignalIn, AGridOfSamplesLeavesItAndSaves) {
  const Seen seen = signal_in({.fail_at = "", .flags = {"--sample_every=1", "--solver_steps=20000"}, .after_step = 1});
  EXPECT_TRUE(saved());
  EXPECT_LE(seen.steps, 3U);
  EXPECT_FALSE(std::filesystem::exists(folder_.path() / "run" / "samples"));
}

TEST_F(SignalIn, ACommitLetsItComeAndSavesOnceMore) {
  const Seen seen = signal_in(
      {.fail_at = "rename:step_000000003:1", .flags = {"--checkpoint_every=3", "--keep_last=0"}, .after_step = 3});
  EXPECT_TRUE(std::filesystem::exists(folder_.path() / "run/checkpoints/step_000000003/manifest.json"));
  EXPECT_GT(seen.steps, 3U);
}

}  // namespace
}  // namespace cfm::test
