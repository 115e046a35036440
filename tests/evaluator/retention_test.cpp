// A run that is trained and followed at the same time, by the real programs: what the trainer keeps for the evaluators.

#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <functional>
#include <thread>

#include "checkpoint/store.h"
#include "support/file_bytes.h"
#include "support/training_run.h"

namespace cfm::test {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

class Retention : public testing::Test {
 protected:
  using Flags = std::vector<std::string>;
  // Saves every step, keeps one and up to two unevaluated ones.
  Flags trainer() const {
    return mpirun(2) + with_flags(small_run(data_, run_),
                                  {"--steps=1000000", "--checkpoint_every=1", "--keep_last=1", "--keep_unevaluated=2"});
  }
  Flags evaluator(const Flags& flags) const {
    return mpirun(2) +
           Flags{program("cfm_eval_nll"),
                 "--watch=" + run_.string(),
                 "--data=" + val_,
                 "--solver=euler",
                 "--check_images=0",
                 "--net_batch=2",
                 "--tag=t"} +
           flags;
  }
  static const Flags& slow() {
    static const Flags flags{"--count=16", "--steps=1000000"};
    return flags;
  }
  std::vector<int64_t> steps() const { return checkpoint::committed_steps(run_); }
  int64_t newest() const { return steps().empty() ? 0 : steps().back(); }
  // The lease of the checkpoint that a job of the run holds; empty if there is none.
  fs::path hold() const {
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(run_ / "readers", error))
      if (entry.path().filename().string().starts_with("step_")) return entry.path();
    return {};
  }
  static void wait_for(const std::vector<Running*>& jobs, const std::function<bool()>& what) {
    const auto alive = [&] {
      for (Running* job : jobs)
        if (job->ended()) return false;
      return true;
    };
    while (alive() && !what()) std::this_thread::sleep_for(milliseconds(20));
    for (Running* job : jobs) ASSERT_FALSE(job->ended()) << job->wait().output;
  }
  fs::path log(const std::string& name) const { return folder_.path() / name; }

  TemporaryFolder folder_;
  std::string data_ = digit_shards(folder_.path(), "train", 0, 64), val_ = digit_shards(folder_.path(), "val", 64, 16);
  fs::path run_ = folder_.path() / "run";
};

TEST_F(Retention, KeepsWhatAnEvaluatorIsAtAndSomeThatItHasYetToEvaluateUntilItIsKilled) {
  Running training(trainer(), log("training"));
  wait_for({&training}, [&] { return newest() > 0; });
  Running evaluating(evaluator(slow()), log("evaluating"));
  wait_for({&training, &evaluating}, [&] { return bytes_of(log("evaluating")).find("cost") != std::string::npos; });
  const int64_t held = checkpoint::step_of(hold().stem().stem());
  ASSERT_GT(held, 0);
  const int64_t since = newest();
  wait_for({&training, &evaluating}, [&] { return newest() > since + 8; });
  EXPECT_TRUE(checkpoint::is_committed(run_, held));
  // The held one, two unevaluated ones, the newest; one more between a commit and what follows it.
  EXPECT_GE(steps().size(), 4U);
  EXPECT_LE(steps().size(), 5U);

  std::string lease = bytes_of(hold());
  const pid_t rank_0 = std::stoi(lease.substr(lease.find("process=") + 8));
  kill(rank_0, SIGKILL);
  EXPECT_NE(evaluating.wait().exit_code, 0);
  const int64_t death = newest();
  wait_for({&training}, [&] { return newest() > death + 2; });
  EXPECT_LE(steps().size(), 2U);
  EXPECT_FALSE(checkpoint::is_committed(run_, held));
  EXPECT_TRUE(hold().empty());
  kill(training.pid(), SIGUSR1);
  const Finished finished = training.wait();
  EXPECT_EQ(finished.exit_code, 75) << finished.output;
  EXPECT_EQ(steps().size(), 1U);
}

// More checkpoints than an evaluator can follow: those that it gets to are evaluated whole, the others are said.
TEST_F(Retention, LetsAnEvaluatorThatLagsFinishWhatItTakesAndGoOnWithWhatIsLeft) {
  Running evaluating(evaluator({"--count=8", "--steps=4"}), log("evaluating"));
  Running training(with_flags(trainer(), {"--steps=20"}), log("training"));
  const Finished trained = training.wait(), evaluated = evaluating.wait();
  EXPECT_EQ(trained.exit_code, 0) << trained.output;
  EXPECT_EQ(evaluated.exit_code, 0) << evaluated.output;
  EXPECT_NE(evaluated.output.find("complete"), std::string::npos) << evaluated.output;
  int64_t results = 0;
  for (const auto& entry : fs::directory_iterator(run_ / "results")) results += entry.path().extension() == ".json";
  EXPECT_GE(results, 2) << evaluated.output;
  EXPECT_TRUE(fs::exists(run_ / "results/nll-step_000000020-t.json"));
  EXPECT_TRUE(fs::is_empty(run_ / "readers"));
}

}  // namespace
}  // namespace cfm::test
