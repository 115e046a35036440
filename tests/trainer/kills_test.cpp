// Ranks killed at random times: every start continues from the newest committed checkpoint, and the run ends in the
// bits of one that was never killed. bench/kills.py does it hundreds of times, and at every place of a save.

#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <random>
#include <sstream>
#include <thread>

#include "checkpoint/store.h"
#include "support/file_bytes.h"
#include "support/training_run.h"

namespace cfm::test {
namespace {

namespace fs = std::filesystem;

// The ranks below an mpirun that have begun.
std::vector<pid_t> ranks_of(pid_t mpirun) {
  std::vector<pid_t> ranks;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    std::istringstream stat(bytes_of(entry.path() / "stat"));  // [proc(5): pid (comm) state ppid ...]
    std::string pid, comm, state;
    pid_t parent = 0;
    if (stat >> pid >> comm >> state >> parent && comm == "(cfm_train)" && parent == mpirun)
      ranks.push_back(std::stoi(pid));
  }
  std::ranges::sort(ranks);
  return ranks;
}

class KilledRuns : public testing::TestWithParam<int> {
 protected:
  static constexpr int kKills = 5, kSteps = 12;
  std::vector<std::string> command(const std::string& name) const {
    return mpirun(GetParam()) +
           with_flags(small_run(data_, run_dir(name)), {"--steps=" + std::to_string(kSteps), "--checkpoint_every=1",
                                                        "--keep_last=1", "--lr=1e-2", "--metrics="});
  }
  fs::path run_dir(const std::string& name) const { return folder_.path() / name; }
  fs::path log() const { return folder_.path() / "log"; }
  int64_t newest() const {
    const std::vector<int64_t> steps = checkpoint::committed_steps(run_dir("run"));
    return steps.empty() ? 0 : steps.back();
  }
  // A start that ended by itself or was killed, when `before` was the newest checkpoint.
  static void expect_good_start(const std::string& output, int64_t before) {
    EXPECT_EQ(output.find("damaged"), std::string::npos) << output;
    if (output.find("\nrun        ") == std::string::npos) return;  // killed before it had loaded anything
    const std::string begins = before > 0 ? "resumed at step " + std::to_string(before) + "\n" : "from the start\n";
    EXPECT_NE(output.find(begins), std::string::npos) << begins << output;
  }
  void expect_same_tensors() const {
    const std::string step = "step_0000000" + std::to_string(kSteps);
    const auto files = tensors_of(run_dir("run"), step);
    ASSERT_EQ(files.size(), 5U);
    for (const auto& [name, bytes] : tensors_of(run_dir("whole"), step)) EXPECT_TRUE(files.at(name) == bytes) << name;
  }

  TemporaryFolder folder_;
  std::string data_ = digit_shards(folder_.path(), "train", 0, 100);
};
INSTANTIATE_TEST_SUITE_P(Ranks, KilledRuns, testing::Values(2, 3), testing::PrintToStringParamName());

TEST_P(KilledRuns, GoOnFromWhatIsCommittedAndEndInTheSameBits) {
  const Finished whole = run(command("whole"), log());
  ASSERT_EQ(whole.exit_code, 0) << whole.output;
  std::mt19937 random(static_cast<unsigned>(GetParam()));
  std::uniform_real_distribution<double> when(0, 1.1 * whole.seconds);
  int kills = 0;
  for (bool complete = false; !complete || kills < kKills;) {
    if (complete) fs::remove_all(run_dir("run"));
    const int64_t before = newest();
    Running job(command("run"), log());
    bool killed = false;
    if (kills < kKills) {
      std::this_thread::sleep_for(std::chrono::duration<double>(when(random)));
      const std::vector<pid_t> ranks = ranks_of(job.pid());
      killed = !ranks.empty() && kill(ranks[random() % ranks.size()], SIGKILL) == 0;
    }
    const Finished finished = job.wait();
    expect_good_start(finished.output, before);
    complete = finished.exit_code == 0;
    ASSERT_TRUE(complete || killed) << finished.output;
    kills += complete ? 0 : 1;
    if (complete) expect_same_tensors();
    ASSERT_FALSE(HasFailure());
  }
}

}  // namespace
}  // namespace cfm::test
