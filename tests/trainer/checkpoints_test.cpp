// Checkpoints while training goes on: what a run waits for, what it leaves when it is killed, what it says of writes
// that fail.

#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <thread>

#include "support/file_bytes.h"
#include "support/training_run.h"

namespace cfm::test {
namespace {

using std::chrono::milliseconds;

class Checkpoints : public testing::Test {
 protected:
  // A run that saves every other step; CFM_FAIL_AT as given.
  std::vector<std::string> command(const std::string& run_dir, int ranks, const std::vector<std::string>& flags,
                                   const std::string& fail_at = "") const {
    std::vector<std::string> words{"env", "CFM_FAIL_AT=" + fail_at};
    return words + mpirun(ranks) +
           with_flags(
               small_run(data_, folder_.path() / run_dir),
               std::vector<std::string>{"--steps=6", "--checkpoint_every=2", "--keep_last=0", "--lr=1e-2"} + flags);
  }
  Finished run_to_end(const std::vector<std::string>& command) const { return run(command, folder_.path() / "log"); }
  std::filesystem::path run_dir(const std::string& name) const { return folder_.path() / name; }
  bool committed(const std::string& name, int step) const {
    return std::filesystem::exists(run_dir(name) / "checkpoints" / ("step_00000000" + std::to_string(step)));
  }
  void expect_same_tensors(const std::string& found, const std::string& expected, const std::string& step) const {
    const auto files = tensors_of(run_dir(found), step);
    ASSERT_EQ(files.size(), 5U);
    for (const auto& [name, bytes] : tensors_of(run_dir(expected), step))
      EXPECT_TRUE(files.at(name) == bytes) << step << " " << name;
  }
  static void expect_words(const Finished& finished, int exit_code, const std::vector<std::string>& words) {
    EXPECT_EQ(finished.exit_code, exit_code) << finished.output;
    for (const std::string& word : words)
      EXPECT_NE(finished.output.find(word), std::string::npos) << word << " is not in:\n" << finished.output;
  }

  TemporaryFolder folder_;
  std::string data_ = digit_shards(folder_.path(), "train", 0, 100);
};

class CheckpointsByRanks : public Checkpoints, public testing::WithParamInterface<int> {};
INSTANTIATE_TEST_SUITE_P(Ranks, CheckpointsByRanks, testing::ValuesIn(rank_counts({1, 2, 3, 4})),
                         testing::PrintToStringParamName());

// The writer of model.safetensors stands before its fsync until a file is there.
TEST_P(CheckpointsByRanks, AreWrittenWhileTrainingGoesOn) {
  const std::string go = (folder_.path() / "go").string();
  Running job(
      command("run", GetParam(), {"--steps=1000000", "--checkpoint_every=5"}, "fsync:model.safetensors:1:" + go),
      folder_.path() / "log");
  while (!job.ended() && losses(run_dir("run")).count(9) == 0) std::this_thread::sleep_for(milliseconds(5));
  EXPECT_FALSE(job.ended()) << bytes_of(folder_.path() / "log");
  EXPECT_FALSE(committed("run", 5));
  EXPECT_TRUE(events(run_dir("run"), "checkpoint").empty());
  put_bytes(go, "");
  while (!job.ended() && events(run_dir("run"), "checkpoint").size() < 2) std::this_thread::sleep_for(milliseconds(5));
  EXPECT_TRUE(committed("run", 5));
  EXPECT_FALSE(job.ended()) << bytes_of(folder_.path() / "log");
  kill(job.pid(), SIGUSR1);
  const Finished finished = job.wait();
  EXPECT_EQ(finished.exit_code, 75) << finished.output;
  EXPECT_EQ(events(run_dir("run"), "checkpoint").front().at("step"), 5);
  // The signal's own checkpoint was waited for.
  EXPECT_EQ(events(run_dir("run"), "checkpoint").back().at("step"), events(run_dir("run"), "stop").back().at("step"));
}

TEST_P(CheckpointsByRanks, AreTheSameBytesAsThoseOfTheForeground) {
  for (const std::string name : {"async", "foreground"}) {
    const std::string flag = std::string("--async_checkpoints=") + (name == "async" ? "true" : "false");
    ASSERT_EQ(run_to_end(command(name, GetParam(), {flag})).exit_code, 0);
  }
  for (const std::string step : {"step_000000002", "step_000000004", "step_000000006"}) {
    expect_same_tensors("async", "foreground", step);
  }
}

// Before every creation, write, fsync and rename of the save of step 4, on the rank that comes to it first.
TEST_F(Checkpoints, OfARunThatIsKilledAnywhereInASaveAreWholeAndGoOnToTheSameBits) {
  ASSERT_EQ(run_to_end(command("whole", 2, {})).exit_code, 0);
  int kills = 0;
  for (const std::string operation : {"create", "write", "fsync", "fsync_directory", "rename"}) {
    for (int number = 1;; ++number) {
      // The folder's own entry is made durable when it has its name: "checkpoints", of which step 2's is the first.
      const bool of_parent = operation == "fsync_directory";
      const std::string at = operation + (of_parent ? ":/checkpoints:" : ":step_000000004:") +
                             std::to_string(number + (of_parent ? 2 : 0)) + ":kill";
      if (of_parent && number > 2) break;
      SCOPED_TRACE(at);
      std::filesystem::remove_all(run_dir("run"));
      const Finished killed = run_to_end(command("run", 2, {}, at));
      if (killed.exit_code == 0) break;
      ++kills;
      ASSERT_TRUE(committed("run", 2)) << killed.output;
      EXPECT_FALSE(committed("run", 6)) << killed.output;
      const Finished second = run_to_end(command("run", 2, {}));
      expect_words(second, 0, {"resumed at step "});
      EXPECT_EQ(second.output.find("damaged"), std::string::npos) << second.output;
      expect_same_tensors("run", "whole", "step_000000006");
    }
  }
  EXPECT_GE(kills, 3 + 3 + 3 + 2 + 1);
}

TEST_F(Checkpoints, ThatCannotBeWrittenAreSaidAndCountedAndTrainingGoesOn) {
  const Finished finished = run_to_end(command("run", 2, {}, "fsync:ema_0.999.safetensors:2:fail"));
  expect_words(finished, 0, {"the checkpoint of step 4 failed (1 so far)", "ema_0.999.safetensors: asked to fail"});
  EXPECT_TRUE(committed("run", 2) && !committed("run", 4) && committed("run", 6));
  const auto failed = events(run_dir("run"), "checkpoint_failed");
  ASSERT_EQ(failed.size(), 1U);
  EXPECT_EQ(failed[0].at("step"), 4);
  EXPECT_EQ(failed[0].at("failures"), 1);
  EXPECT_EQ(events(run_dir("run"), "checkpoint").size(), 2U);
}

TEST_F(Checkpoints, TheLastOfWhichCannotBeWrittenEndTheRunWithACodeThatSaysRetry) {
  const Finished finished = run_to_end(command("run", 2, {}, "rename:step_000000006:1:fail"));
  expect_words(finished, 1,
               {"the checkpoint of step 6 failed", "the last checkpoint of the run, of step 6, could not"});
  EXPECT_TRUE(committed("run", 4) && !committed("run", 6));
  expect_words(run_to_end(command("run", 2, {})), 0, {"resumed at step 4"});
}

// A start that meets a read that fails ends with the code that says retry; the next one goes on from the very
// checkpoint that could not be read.
TEST_F(Checkpoints, ThatCannotBeReadForNowAreLeftInTheirPlacesAndReadByTheNextStart) {
  ASSERT_EQ(run_to_end(command("whole", 2, {})).exit_code, 0);
  ASSERT_EQ(run_to_end(command("run", 2, {"--steps=4"})).exit_code, 0);
  for (const std::string place :
       {"open:step_000000004/manifest.json:1", "read:step_000000004/manifest.json:2",
        "open:step_000000004/exp_avg_sq.safetensors:1", "read:step_000000004/model.safetensors:1",
        "read:step_000000004/model.safetensors:2", "read:step_000000004/ema_0.9.safetensors:1"}) {
    SCOPED_TRACE(place);
    const Finished finished = run_to_end(command("run", 2, {}, place + ":fail"));
    expect_words(finished, 1, {"asked to fail by CFM_FAIL_AT", "not taken for damage", "the same command tries again"});
    EXPECT_EQ(finished.output.find("Set aside"), std::string::npos) << finished.output;
    EXPECT_TRUE(committed("run", 2) && committed("run", 4) && !committed("run", 6));
  }
  expect_words(run_to_end(command("run", 2, {})), 0, {"resumed at step 4"});
  expect_same_tensors("run", "whole", "step_000000006");
}

TEST_F(Checkpoints, ThatOneRankAloneCannotReadForNowAreLeftInTheirPlacesToo) {
  ASSERT_EQ(run_to_end(command("run", 2, {"--steps=4"})).exit_code, 0);
  const std::vector<std::string> program =
      with_flags(small_run(data_, run_dir("run")), {"--steps=6", "--keep_last=0", "--lr=1e-2"});
  const std::vector<std::string> on_rank_1{
      "sh", "-c",
      "[ $OMPI_COMM_WORLD_RANK != 1 ] || export CFM_FAIL_AT=read:step_000000004/model.safetensors:1:fail; "
      "exec \"$0\" \"$@\""};
  const Finished finished = run_to_end(mpirun(2) + on_rank_1 + program);
  expect_words(finished, 1, {"rank 1 on host", "model.safetensors: asked to fail", "not taken for damage"});
  EXPECT_TRUE(committed("run", 4));
  expect_words(run_to_end(mpirun(2) + program), 0, {"resumed at step 4"});
}

TEST_F(Checkpoints, ThatCannotBeDeletedAreSaidAndCountedAndTrainingGoesOn) {
  for (const std::string place : {"rename:step_000000002.deleted:1", "create:deletion.lease:1"}) {
    SCOPED_TRACE(place);
    std::filesystem::remove_all(run_dir("run"));
    const Finished finished = run_to_end(command("run", 2, {"--keep_last=1"}, place + ":fail"));
    expect_words(finished, 0, {"behind the checkpoint of step 4", "(1 so far)", "asked to fail"});
    const auto failed = events(run_dir("run"), "deletion_failed");
    ASSERT_EQ(failed.size(), 1U);
    EXPECT_EQ(failed[0].at("step"), 4);
    EXPECT_EQ(failed[0].at("failures"), 1);
    EXPECT_TRUE(events(run_dir("run"), "checkpoint_failed").empty());
    EXPECT_TRUE(!committed("run", 2) && !committed("run", 4) && committed("run", 6)) << "the next save's turn";
  }
}

}  // namespace
}  // namespace cfm::test
