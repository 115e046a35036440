// cfm_train --check: says whether a launch would work, and touches nothing.

#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <map>
#include <regex>
#include <thread>

#include "support/file_bytes.h"
#include "support/training_run.h"

namespace cfm::test {
namespace {

using Words = std::vector<std::string>;

class Check : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder;
    data_ = digit_shards(folder_->path(), "train", 0, 100);
    other_data_ = digit_shards(folder_->path(), "other", 100, 100);
    const Finished finished = train("run", {"--steps=2", "--lr=1e-3"});
    if (finished.exit_code != 0) throw std::runtime_error(finished.output);
  }
  static void TearDownTestSuite() { delete folder_; }

  static std::filesystem::path path(const std::string& name) { return folder_->path() / name; }
  static Finished train(const std::string& name, const Words& flags, int ranks = 2) {
    return run(mpirun(ranks) + with_flags(small_run(data_, path(name)), flags), path("log"));
  }
  static Finished check(const std::string& name, const Words& flags, int ranks = 2) {
    return train(name, flags + Words{"--check=true"}, ranks);
  }
  // Every file of a folder, with its bytes and the time of its last change.
  static std::map<std::string, std::pair<std::string, std::filesystem::file_time_type>> content(
      const std::filesystem::path& folder) {
    std::map<std::string, std::pair<std::string, std::filesystem::file_time_type>> files;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
      if (entry.is_regular_file()) files[entry.path()] = {bytes_of(entry.path()), entry.last_write_time()};
    }
    return files;
  }
  // The text of the first line "MARK  WHAT   text"; empty if there is none.
  static std::string line(const Finished& finished, const std::string& mark, const std::string& what) {
    std::smatch found;
    const std::regex pattern("(^|\n)" + mark + " +" + what + " +([^\n]*)");
    return std::regex_search(finished.output, found, pattern) ? found[found.size() - 1].str() : "";
  }
  static void expect_has(const std::string& text, const Words& words, const Finished& finished) {
    for (const std::string& word : words)
      EXPECT_NE(text.find(word), std::string::npos) << "'" << word << "' is not in '" << text << "' of\n"
                                                    << finished.output;
  }

  static inline TemporaryFolder* folder_;
  static inline std::string data_, other_data_;
};

TEST_F(Check, OfANewRunMeasuresStepsForecastsTheRunAndMakesNothing) {
  const Finished finished = check("new", {"--steps=100000"});
  ASSERT_EQ(finished.exit_code, 0) << finished.output;
  expect_has(line(finished, "ok", "launch"), {"2 ranks", "OMPI_COMM_WORLD_SIZE=2"}, finished);
  expect_has(line(finished, "(ok|warn)", "ranks"), {"0,1", "cpu", "1 threads"}, finished);
  expect_has(line(finished, "ok", "run_dir"), {path("new").string() + " can be made in"}, finished);
  expect_has(line(finished, "ok", "owner"), {"nobody"}, finished);
  expect_has(line(finished, "ok", "data"), {data_, "100 images"}, finished);
  expect_has(line(finished, "ok", "resume"), {"no checkpoint yet"}, finished);
  expect_has(line(finished, "ok", "room"), {"a checkpoint is 0.0", "are free"}, finished);
  expect_has(line(finished, "ok", "step"), {"real steps", "images/s"}, finished);
  expect_has(line(finished, "(ok|warn)", "loader"), {"steps/s"}, finished);
  EXPECT_EQ(finished.output.find("FAIL"), std::string::npos) << finished.output;
  EXPECT_FALSE(std::filesystem::exists(path("new")));
  EXPECT_EQ(finished.output.find("SLURM_NTASKS"), std::string::npos) << finished.output;
  // The forecast is the step's time, times the steps.
  const double step = std::stod(line(finished, "ok", "step"));
  const std::string forecast = line(finished, "ok", "forecast");
  std::smatch clock;
  ASSERT_TRUE(std::regex_search(forecast, clock, std::regex("100000 steps take (([0-9]+)d )?(..):(..):(..);")))
      << forecast;
  const double seconds = (clock[2].length() > 0 ? std::stod(clock[2]) : 0) * 86400 + std::stod(clock[3]) * 3600 +
                         std::stod(clock[4]) * 60 + std::stod(clock[5]);
  EXPECT_NEAR(seconds / (100000 * step), 1, 0.01);
}

TEST_F(Check, SaysWhereMpiHasFewerRanksThanSlurmHasGranted) {
  const Words command = with_flags(small_run(data_, path("new")), {"--steps=10", "--check=true"});
  const Finished finished = run(Words{"env", "SLURM_NTASKS=3"} + mpirun(2) + command, path("log"));
  EXPECT_EQ(finished.exit_code, 0) << finished.output;
  expect_has(line(finished, "warn", "launch"), {"granted 3 tasks", "MPI has 2 ranks"}, finished);
}

// The state's size, counted by hand: five files, each of the size of one that a run has written.
TEST_F(Check, KnowsTheSizeOfACheckpoint) {
  double bytes = 0;
  for (const auto& [name, content] : tensors_of(path("run"), "step_000000002"))
    bytes += static_cast<double>(content.size());
  const Finished finished = check("new", {"--steps=10"});
  ASSERT_EQ(finished.exit_code, 0) << finished.output;
  const std::string room = line(finished, "ok", "room");
  EXPECT_NEAR(std::stod(room.substr(std::string("a checkpoint is ").size())) / (bytes / 1e9), 1, 0.05) << room;
}

TEST_F(Check, OfARunThatExistsSaysFlagByFlagWhatAResumeChangesAndTouchesNothing) {
  const auto before = content(path("run"));
  const Finished finished = check("run", {"--steps=10", "--lr=5e-4", "--keep_last=9"}, 1);
  ASSERT_EQ(finished.exit_code, 0) << finished.output;
  expect_has(line(finished, "ok", "resume"), {"from step 2 of 10"}, finished);
  expect_has(finished.output,
             {"--keep_last was 2, is 9 (free)", "--lr was 0.001, is 5e-04 (continuing): from step 2 on",
              "ranks was 2, is 1: other last bits"},
             finished);
  EXPECT_TRUE(content(path("run")) == before) << "a file of the run was made, changed or written anew";
}

TEST_F(Check, FailsWithEverythingThatWouldNotWorkAndNamesIt) {
  const auto before = content(path("run"));
  const Finished finished = check("run", {"--steps=10", "--seed=9", "--train_data=" + other_data_});
  EXPECT_EQ(finished.exit_code, 2) << finished.output;
  expect_has(finished.output,
             {"--seed is 9, the run's checkpoint was made with 0", "is not what the run was trained on",
              "this launch would not work: resume"},
             finished);
  EXPECT_FALSE(line(finished, "ok", "step").empty()) << "the rest is checked all the same\n" << finished.output;
  EXPECT_TRUE(content(path("run")) == before);

  put_bytes(path("file"), "x");
  const Finished two = check("file", {"--steps=10", "--train_data=/nowhere"});
  EXPECT_EQ(two.exit_code, 2) << two.output;
  expect_has(line(two, "FAIL", "run_dir"), {"is a file"}, two);
  expect_has(line(two, "FAIL", "data"), {"/nowhere"}, two);
  expect_has(two.output, {"this launch would not work: run_dir, data"}, two);

  const Finished crowd = check("new", {"--steps=10", "--global_batch=1", "--micro_batch=0"});
  EXPECT_EQ(crowd.exit_code, 2) << crowd.output;
  expect_has(line(crowd, "FAIL", "ranks"), {"--global_batch=1 on 2 ranks"}, crowd);
}

TEST_F(Check, OfWeightsThatDoNotFitFails) {
  const std::string from = path("run").string() + "@2";
  EXPECT_EQ(check("new", {"--steps=10", "--branch_from=" + from}).exit_code, 0);
  const Finished finished = check("new", {"--steps=10", "--branch_from=" + from, "--model_channels=64"});
  EXPECT_EQ(finished.exit_code, 2);
  expect_has(line(finished, "FAIL", "weights"), {"model_channels was 32 there, is 64 here"}, finished);
}

TEST_F(Check, OfARunThatIsTrainedNowFailsAsAStartWouldNamesTheTrainerAndLeavesItAlone) {
  Running job(mpirun(1) + with_flags(small_run(data_, path("busy")), {"--steps=1000000"}), path("busy.log"));
  while (!job.ended() && losses(path("busy")).size() < 2) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  const Finished finished = check("busy", {"--steps=1000000"});
  EXPECT_EQ(finished.exit_code, 2) << finished.output;
  expect_has(line(finished, "FAIL", "owner"), {"trained by host ", "process ", "at work"}, finished);
  expect_has(finished.output, {"this launch would not work: owner"}, finished);
  kill(job.pid(), SIGUSR1);
  EXPECT_EQ(job.wait().exit_code, 75) << "its lease was not taken";
}

// What a trainer of another machine left that was killed: as long as a start would, it waits for a sign of life.
TEST_F(Check, OfARunWhoseTrainerShowsNoLifeSaysThatAStartTakesOver) {
  std::filesystem::copy(path("run"), path("left"), std::filesystem::copy_options::recursive);
  put_bytes(path("left/trainer.lease"), "id=abc\nhost=n77\nspace=x\nprocess=4711-9\njob=\nattempt=0\nbeat=7\n");
  const auto before = content(path("left"));
  const Finished finished = check("left", {"--steps=10", "--lease_seconds=1"});
  EXPECT_EQ(finished.exit_code, 0) << finished.output;
  expect_has(finished.output, {"held by host n77, process 4711", "a start takes over"}, finished);
  EXPECT_TRUE(content(path("left")) == before);
}

// The run's checkpoints of steps 2 and 4; `damage` of the newest is said with the step that a start falls back to.
TEST_F(Check, OfADamagedCheckpointSaysWhatAStartFallsBackToAndSetsNothingAside) {
  const auto newest = path("hurt/checkpoints/step_000000004");
  const std::map<std::string, std::string> damages{
      {"model.safetensors", "truncated"}, {"manifest.json", "flipped"}, {"exp_avg.safetensors", "missing"}};
  for (const auto& [name, damage] : damages) {
    SCOPED_TRACE(name);
    std::filesystem::remove_all(path("hurt"));
    std::filesystem::copy(path("run"), path("hurt"), std::filesystem::copy_options::recursive);
    ASSERT_EQ(train("hurt", {"--steps=4", "--lr=1e-3"}).exit_code, 0);
    const auto file = newest / name;
    if (damage == "truncated") std::filesystem::resize_file(file, std::filesystem::file_size(file) - 4);
    if (damage == "flipped") flip_bit(file, 60);
    if (damage == "missing") std::filesystem::remove(file);
    const auto before = content(path("hurt"));
    const Finished finished = check("hurt", {"--steps=10"});
    EXPECT_EQ(finished.exit_code, 0) << finished.output;
    expect_has(line(finished, "warn", "resume"), {name, "A start sets that aside", "checkpoint of step 2"}, finished);
    expect_has(line(finished, "ok", "resume"), {"from step 2 of 10"}, finished);
    EXPECT_TRUE(content(path("hurt")) == before);
    // And so it does.
    const Finished started = train("hurt", {"--steps=5"});
    EXPECT_EQ(started.exit_code, 0) << started.output;
    expect_has(started.output, {"resumed at step 2", "step_000000004.damaged"}, started);
  }
}

TEST_F(Check, OfARunWhoseCheckpointsAreAllDamagedFails) {
  std::filesystem::copy(path("run"), path("lost"), std::filesystem::copy_options::recursive);
  const auto file = path("lost/checkpoints/step_000000002/model.safetensors");
  std::filesystem::resize_file(file, std::filesystem::file_size(file) - 4);
  const Finished finished = check("lost", {"--steps=10"});
  EXPECT_EQ(finished.exit_code, 2) << finished.output;
  expect_has(line(finished, "FAIL", "resume"), {"model.safetensors", "No other checkpoint is left"}, finished);
  EXPECT_TRUE(std::filesystem::exists(file));
  EXPECT_EQ(train("lost", {"--steps=10"}).exit_code, 2) << "as it said";
  const Finished after = check("lost", {"--steps=10"});
  EXPECT_EQ(after.exit_code, 2) << after.output;
  expect_has(line(after, "FAIL", "resume"), {"step_000000002.damaged"}, after);
}

}  // namespace
}  // namespace cfm::test
