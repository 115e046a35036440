// --watch: evaluators that follow a run, alone and together, under mpirun.
#include "evaluator/watch.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <string>
#include <thread>
#include <utility>

#include "support/error_text.h"
#include "support/file_bytes.h"
#include "support/scratch_directory.h"
#include "support/shard_files.h"
#include "support/tiny_weights.h"
#include "support/training_run.h"

namespace cfm::evaluator {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using test::bytes_of;
using test::Finished;
using test::has;
using test::put_bytes;
using test::Running;
using test::operator+;

class Watch : public testing::Test {
 protected:
  Watch() {
    fs::create_directories(scratch_.path() / "data");
    tests::write_shard(scratch_.path() / "data/images.h5", {1, 8, 8}, 40);
  }
  using Flags = std::vector<std::string>;
  inline static const Flags kLong{"--solver=dp5", "--steps=6", "--count=16"};  // a second or two
  Flags command(const Flags& flags, int ranks) const {
    const bool on_a_grid = std::ranges::find(flags, "--solver=dopri5") == flags.end();
    const Flags grid = on_a_grid ? Flags{"--solver=euler", "--steps=2", "--check_images=0"} : Flags{};
    return test::with_flags(test::mpirun(ranks) +
                                Flags{test::program("cfm_eval_nll"), "--data=" + path("data"), "--tag=t",
                                      "--net_batch=4", "--count=4", "--lease_seconds=2"} +
                                grid,
                            flags);
  }
  Flags watch(const Flags& flags = {}, int ranks = 0) const {
    return command(Flags{"--watch=" + run_.string()} + flags, ranks);
  }
  // Makes the checkpoint of a run of `steps` steps.
  void commit(int64_t step, int64_t steps) const { test::write_tiny_checkpoint(run_, step, 0, {0.9999}, steps); }
  fs::path result(int64_t step, const std::string& ending) const {
    return run_ / "results" / ("nll-" + checkpoint::step_name(step) + "-t." + ending);
  }
  // What stands under the run's checkpoint of this step, by name.
  std::map<std::string, std::string> files_of(int64_t step) const {
    std::map<std::string, std::string> files;
    for (const auto& entry :
         fs::recursive_directory_iterator(checkpoint::checkpoints_folder(run_) / checkpoint::step_name(step)))
      if (entry.is_regular_file()) files[entry.path()] = bytes_of(entry.path());
    return files;
  }
  // As a job of another machine leaves it, or beats it.
  void put_foreign_claim(int64_t step, int beat) const {
    fs::create_directories(run_ / "results");
    const fs::path written = result(step, "claim.new");  // a reader never sees half of it
    put_bytes(written,
              "id=abc\nhost=n77\nspace=x\nprocess=4711-9\njob=\nattempt=0\nbeat=" + std::to_string(beat) + "\n");
    fs::rename(written, result(step, "claim"));
  }
  static void wait_for(Running& job, const std::function<bool()>& what) {
    while (!job.ended() && !what()) std::this_thread::sleep_for(milliseconds(20));
    EXPECT_FALSE(job.ended());
  }
  bool says(const std::string& log, const std::string& text) const {
    return bytes_of(path(log)).find(text) != std::string::npos;
  }
  std::string path(const std::string& name) const { return (scratch_.path() / name).string(); }
  static int64_t count_of(const std::string& text, const std::string& word) {
    int64_t count = 0;
    for (size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) ++count;
    return count;
  }

  tests::ScratchDirectory scratch_;
  fs::path run_ = scratch_.path() / "run";
};

TEST_F(Watch, EvaluatesEachCheckpointAsItComesAndEndsWithTheRun) {
  Running job(watch({}, 2), path("log"));
  wait_for(job, [&] { return says("log", "to appear"); });
  for (const int64_t step : {100, 200}) {
    commit(step, 300);
    wait_for(job, [&] { return fs::exists(result(step, "json")); });
  }
  wait_for(job, [&] { return says("log", "for a checkpoint after step_000000200"); });
  commit(300, 300);
  const Finished finished = job.wait();
  EXPECT_EQ(finished.exit_code, 0) << finished.output;
  EXPECT_TRUE(has(finished.output, {"complete", "step_000000300"}));
  for (const int64_t step : {100, 200, 300}) {
    const std::string alone = "alone" + std::to_string(step);
    const Finished one = test::run(
        command({"--run_dir=" + run_.string(), "--step=" + std::to_string(step), "--results_dir=" + path(alone)}, 0),
        path("log1"));
    ASSERT_EQ(one.exit_code, 0) << one.output;
    EXPECT_EQ(bytes_of(result(step, "csv")), bytes_of(fs::path(path(alone)) / result(step, "csv").filename()));
  }
  EXPECT_EQ(std::distance(fs::directory_iterator(run_ / "results"), {}), 6) << "a claim or a part was left";
}

TEST_F(Watch, DoesNotEndWithACompleteRunWhoseTrainerIsStillThere) {
  commit(100, 100);
  int beat = 0;
  const auto put_trainer = [&] {
    put_bytes(run_ / "trainer.lease",
              "id=abc\nhost=n77\nspace=x\nprocess=4711-9\njob=\nattempt=0\nbeat=" + std::to_string(++beat) + "\n");
  };
  put_trainer();
  Running job(watch({"--lease_seconds=6"}), path("log"));
  wait_for(job, [&] { return says("log", "for a checkpoint after step_000000100"); });
  const auto since = std::chrono::steady_clock::now();
  while (std::chrono::steady_clock::now() - since < std::chrono::seconds(10) && !job.ended()) {
    put_trainer();
    std::this_thread::sleep_for(milliseconds(100));
  }
  EXPECT_FALSE(job.ended());
  EXPECT_EQ(job.wait().exit_code, 0);  // it beats no more, as one that was killed after its last checkpoint
}

// All three wait for the run before it appears; a checkpoint takes longer than the second between two looks.
TEST_F(Watch, SharesTheCheckpointsAmongJobsWithoutDoingOneTwice) {
  constexpr int64_t kSteps = 6;
  const fs::path run = std::exchange(run_, scratch_.path() / "ready");
  for (int64_t step = 1; step <= kSteps; ++step) commit(step, kSteps);
  fs::rename(run_, path("made"));
  run_ = run;
  std::vector<std::unique_ptr<Running>> jobs;
  const auto log = [](int j) { return "log" + std::to_string(j); };
  for (int j = 0; j < 3; ++j) jobs.push_back(std::make_unique<Running>(watch(kLong), path(log(j))));
  for (int j = 0; j < 3; ++j) wait_for(*jobs[static_cast<size_t>(j)], [&] { return says(log(j), "to appear"); });
  fs::rename(path("made"), run_);
  int64_t written = 0;
  for (auto& job : jobs) {
    const Finished finished = job->wait();
    EXPECT_EQ(finished.exit_code, 0) << finished.output;
    const int64_t of_job = count_of(finished.output, "written");
    EXPECT_GT(of_job, 0) << finished.output;
    written += of_job;
  }
  EXPECT_EQ(written, kSteps);
  for (int64_t step = 1; step <= kSteps; ++step) EXPECT_TRUE(fs::exists(result(step, "json"))) << step;
}

TEST_F(Watch, TakesOverWhatAKilledJobHasBegun) {
  commit(100, 100);
  Running job(watch(kLong), path("log"));
  wait_for(job, [&] {
    int64_t kept = 0;
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(result(100, "parts"), error))
      if (entry.path().extension() == ".records") kept += static_cast<int64_t>(bytes_of(entry.path()).size());
    return kept > 0;
  });
  kill(job.pid(), SIGKILL);
  job.wait();
  ASSERT_TRUE(fs::exists(result(100, "claim")));
  const Finished second = test::run(watch(kLong, 2), path("log2"));
  EXPECT_EQ(second.exit_code, 0) << second.output;
  EXPECT_TRUE(has(second.output, {"resumed", "draws of the likelihood are kept", "complete"}));
  const Flags alone{"--run_dir=" + run_.string(), "--results_dir=" + path("other")};
  ASSERT_EQ(test::run(command(Flags(alone) + kLong, 3), path("log1")).exit_code, 0);
  EXPECT_EQ(bytes_of(result(100, "csv")), bytes_of(fs::path(path("other")) / result(100, "csv").filename()));
}

TEST_F(Watch, LeavesWhatAnotherJobIsAtAndTakesItOverWhenThatShowsNoLife) {
  for (const int64_t step : {100, 200, 300}) commit(step, 300);
  put_foreign_claim(100, 0);
  Running job(watch({"--lease_seconds=6"}, 2), path("log"));
  int beat = 0;
  wait_for(job, [&] {
    put_foreign_claim(100, ++beat);
    return says("log", "for other jobs");
  });
  EXPECT_TRUE(fs::exists(result(200, "json")) && fs::exists(result(300, "json")));
  EXPECT_FALSE(fs::exists(result(100, "json")));
  EXPECT_TRUE(says("log", "step_000000100 is being evaluated by host n77, process 4711"));
  const Finished finished = job.wait();  // it beats no more
  EXPECT_EQ(finished.exit_code, 0) << finished.output;
  EXPECT_TRUE(fs::exists(result(100, "json")));
}

TEST_F(Watch, CountsWhatAnotherJobFinishes) {
  commit(100, 100);
  const Flags alone{"--run_dir=" + run_.string(), "--results_dir=" + path("other")};
  ASSERT_EQ(test::run(command(alone, 0), path("log1")).exit_code, 0);
  put_foreign_claim(100, 0);
  Running job(watch({"--lease_seconds=60"}), path("log"));
  wait_for(job, [&] { return says("log", "for other jobs"); });
  fs::rename(fs::path(path("other")) / result(100, "json").filename(), result(100, "json"));
  fs::remove(result(100, "claim"));
  const Finished finished = job.wait();
  EXPECT_EQ(finished.exit_code, 0) << finished.output;
  EXPECT_EQ(count_of(finished.output, "written"), 0);
}

TEST_F(Watch, SaysThatACheckpointWentBeforeItsTurnOnceNobodyIsAtIt) {
  commit(100, 200);
  commit(200, 200);
  put_foreign_claim(100, 0);
  Running job(watch({"--lease_seconds=60"}), path("log"));
  wait_for(job, [&] { return says("log", "for other jobs"); });
  fs::remove_all(checkpoint::checkpoints_folder(run_) / checkpoint::step_name(100));
  std::this_thread::sleep_for(std::chrono::seconds(3));
  EXPECT_FALSE(job.ended()) << "the other job may still finish it";
  fs::remove(result(100, "claim"));
  const Finished finished = job.wait();
  EXPECT_EQ(finished.exit_code, 0) << finished.output;
  EXPECT_TRUE(has(finished.output, {"step_000000100", "went before it was evaluated", "--keep_unevaluated"}));
}

TEST_F(Watch, GoesOnAfterADamagedCheckpointAndEndsWithItsName) {
  commit(100, 300);
  const fs::path weights = checkpoint::checkpoints_folder(run_) / checkpoint::step_name(100) / "ema_0.9999.safetensors";
  test::flip_bit(weights, fs::file_size(weights) - 5);
  const std::map<std::string, std::string> before = files_of(100);
  Running job(watch({}, 2), path("log"));
  wait_for(job, [&] { return says("log", "for a checkpoint after"); });
  for (const int64_t step : {200, 300}) commit(step, 300);
  const Finished finished = job.wait();
  EXPECT_EQ(finished.exit_code, 2) << finished.output;
  EXPECT_TRUE(has(finished.output, {"step_000000100", "ema_0.9999.safetensors"}));
  EXPECT_TRUE(fs::exists(result(200, "json")) && fs::exists(result(300, "json")));
  EXPECT_FALSE(fs::exists(result(100, "json")));
  EXPECT_EQ(files_of(100), before) << "an evaluator leaves a trainer's files as they are";
}

// An error on one rank, in the middle of the work: 40 draws, of which one cannot be had in so few evaluations.
TEST_F(Watch, GoesOnAfterACheckpointWhoseOdeCannotBeSolved) {
  commit(100, 200);
  commit(200, 200);
  const Finished finished = test::run(watch({"--solver=dopri5", "--count=40", "--max_nfe=20"}, 2), path("log"));
  EXPECT_EQ(finished.exit_code, 2) << finished.output;
  EXPECT_TRUE(has(finished.output, {"step_000000100: ", "step_000000200: ", "--max_nfe=20"}));
  EXPECT_FALSE(fs::exists(result(100, "claim")) || fs::exists(result(200, "claim")));
}

TEST_F(Watch, EndsAtOnceIfTheJobItselfIsWrong) {
  commit(100, 900);
  fs::create_directories(path("large"));
  tests::write_shard(path("large/images.h5"), {3, 16, 16}, 4);
  for (const char* data : {"none", "large"}) {
    const Finished finished = test::run(watch({"--data=" + path(data)}, 2), path("log"));
    EXPECT_EQ(finished.exit_code, 2) << finished.output;
    EXPECT_TRUE(has(finished.output, {data}));
  }
}

TEST_F(Watch, EndsIfTheRunNeverAppears) {
  const Finished finished = test::run(watch({"--watch_idle=2"}, 2), path("log"));
  EXPECT_EQ(finished.exit_code, 2) << finished.output;
  EXPECT_TRUE(has(finished.output, {"--watch=", "no such folder", "2 s"}));
}

TEST_F(Watch, EndsWhenTheRunHasBeenIdle) {
  commit(100, 900);
  const Finished finished = test::run(watch({"--watch_idle=2"}, 2), path("log"));
  EXPECT_EQ(finished.exit_code, 0) << finished.output;
  EXPECT_TRUE(has(finished.output, {"idle", "2 s", "not complete"}));
  EXPECT_TRUE(fs::exists(result(100, "json")));
}

TEST_F(Watch, StopsOnASignalWhileItWaits) {
  commit(100, 900);
  Running job(watch({}, 2), path("log"));
  wait_for(job, [&] { return says("log", "for a checkpoint after"); });
  kill(job.pid(), SIGUSR1);
  const Finished finished = job.wait();
  EXPECT_EQ(finished.exit_code, 75) << finished.output;
  EXPECT_TRUE(has(finished.output, {"stopped", "the same command"}));
}

TEST_F(Watch, AJobForOneResultIsToldWhoIsAtIt) {
  commit(100, 900);
  put_foreign_claim(100, 0);
  std::atomic<bool> ended = false;
  std::thread beats([&] {
    for (int beat = 1; !ended; ++beat) {
      put_foreign_claim(100, beat);
      std::this_thread::sleep_for(milliseconds(100));
    }
  });
  const Finished finished = test::run(command({"--run_dir=" + run_.string()}, 2), path("log"));
  ended = true;
  beats.join();
  EXPECT_EQ(finished.exit_code, 2) << finished.output;
  EXPECT_TRUE(has(finished.output, {"nll-step_000000100-t.json", "host n77, process 4711", "at work", "--tag"}));
  EXPECT_FALSE(fs::exists(result(100, "json")));
}

TEST_F(Watch, FollowsARunForFidToo) {
  const std::string features = std::string(CFM_SOURCE_DIR) + "/configs/digits/features.safetensors";
  commit(100, 200);
  commit(200, 200);
  const Finished finished = test::run(
      test::mpirun(2) + Flags{test::program("cfm_eval_fid"), "--watch=" + run_.string(), "--reference=" + path("data"),
                              "--features=digits:" + features, "--solver=euler", "--steps=2", "--count=16",
                              "--net_batch=8", "--repeats=1", "--tag=t"},
      path("log"));
  EXPECT_EQ(finished.exit_code, 0) << finished.output;
  for (const char* name : {"fid-step_000000100-t.json", "fid-step_000000200-t.json"})
    EXPECT_TRUE(fs::exists(run_ / "results" / name)) << name;
  EXPECT_EQ(std::distance(fs::directory_iterator(run_ / "results"), {}), 2);
}

TEST_F(Watch, RefusesFlagsThatContradictIt) {
  struct Case {
    Flags flags;
    std::initializer_list<const char*> parts;
  };
  const std::vector<Case> cases{{{"--run_dir=" + run_.string()}, {"--watch", "--run_dir", "give one"}},
                                {{"--step=100"}, {"--step", "--watch"}},
                                {{"--watch_idle=-1"}, {"--watch_idle=-1"}},
                                {{"--lease_seconds=0"}, {"--lease_seconds=0"}},
                                {{"--lease_seconds=1e300"}, {"--lease_seconds=1e+300", "86400"}}};
  for (const Case& one : cases) {
    const Finished finished = test::run(watch(one.flags), path("log"));
    EXPECT_EQ(finished.exit_code, 2) << finished.output;
    EXPECT_TRUE(has(finished.output, one.parts));
  }
}

}  // namespace
}  // namespace cfm::evaluator
