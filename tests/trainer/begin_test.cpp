// Where a run begins, and what it says of that: weights of another run, a checkpoint and a changed command, ranks that
// are not alike.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>

#include "base/durable_file.h"
#include "support/training_run.h"

namespace cfm::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using Words = std::vector<std::string>;

// The tensors' bytes of a safetensors file: what is behind its header.
std::string values(const std::string& file) {
  uint64_t header = 0;
  std::memcpy(&header, file.data(), sizeof header);
  return file.substr(sizeof header + header);
}

size_t count(const std::string& text, const std::string& part) {
  size_t n = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
  return n;
}

class Begin : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder;
    data_ = digit_shards(folder_->path(), "train", 0, 64);
  }
  static void TearDownTestSuite() { delete folder_; }

  static std::filesystem::path path(const std::string& name) { return folder_->path() / name; }
  static Finished train(const std::string& run_dir, const Words& more, int ranks = 2) {
    return run(mpirun(ranks) + small_run(data_, path(run_dir)) + more, path("log"));
  }

  static inline TemporaryFolder* folder_;
  static inline std::string data_;
};

TEST_F(Begin, FromWeightsThatMayGoOnceThereIsACheckpoint) {
  ASSERT_EQ(train("first", {"--steps=2", "--lr=1e-2"}).exit_code, 0);
  const auto weights = path("weights.safetensors");
  std::filesystem::copy(path("first/checkpoints/step_000000002/model.safetensors"), weights);
  const Words command{"--init_from=" + weights.string(), "--lr=1e-30", "--lr_floor=0", "--seed=5"};

  const Finished begun = train("second", command + Words{"--steps=1"});
  ASSERT_EQ(begun.exit_code, 0) << begun.output;
  EXPECT_THAT(begun.output, HasSubstr(weights.string() + ": raw of step 2"));
  const std::string expected = values(read_file(weights));
  for (const auto& [name, bytes] : tensors_of(path("second"), "step_000000001")) {
    if (!name.starts_with("exp_avg")) {
      EXPECT_TRUE(values(bytes) == expected) << name;
    }
  }

  std::filesystem::remove(weights);
  const Finished resumed = train("second", command + Words{"--steps=2"});
  EXPECT_EQ(resumed.exit_code, 0) << resumed.output;
  EXPECT_THAT(resumed.output, HasSubstr("resumed at step 1"));
  EXPECT_THAT(train("third", command + Words{"--steps=1"}).output, HasSubstr(weights.string()));
}

TEST_F(Begin, WeightsThatWouldMeanSomethingElseAreRefusedWithBothValues) {
  ASSERT_EQ(train("meaning", {"--steps=1"}).exit_code, 0);
  const std::string weights = path("meaning/checkpoints/step_000000001/ema_0.9.safetensors").string();
  const Finished refused = train("other", {"--steps=1", "--init_from=" + weights, "--time_scale=1"});
  EXPECT_EQ(refused.exit_code, 2) << refused.output;
  EXPECT_THAT(refused.output, AllOf(HasSubstr("time_scale was 1000 there, is 1 here"), HasSubstr("--time_scale=1000")));
  const Finished narrower = train("other", {"--steps=1", "--init_from=" + weights, "--sigma_min=0"});
  EXPECT_EQ(narrower.exit_code, 0) << narrower.output;
  EXPECT_THAT(narrower.output, HasSubstr("--sigma_min=1e-05: the run goes on with 0"));
}

TEST_F(Begin, AResumeSaysWhatChangedAndWhenNothingIsLeftToDo) {
  ASSERT_EQ(train("changed", {"--steps=4", "--lr=1e-3"}).exit_code, 0);
  const Finished same = train("changed", {"--steps=4", "--lr=1e-3"});
  EXPECT_EQ(same.exit_code, 0);
  EXPECT_THAT(same.output,
              AllOf(Not(HasSubstr("resume: ")), HasSubstr("nothing to do: the run is at step 4, --steps=4")));
  const Finished less = train("changed", {"--steps=3", "--lr=1e-3"});
  EXPECT_EQ(less.exit_code, 0);
  EXPECT_THAT(less.output,
              AllOf(HasSubstr("nothing to do: the run is at step 4, --steps=3"), Not(HasSubstr("goes on"))));
  const Finished changed = train("changed", {"--steps=5", "--lr=2e-3"}, 1);
  EXPECT_EQ(changed.exit_code, 0) << changed.output;
  EXPECT_THAT(changed.output,
              AllOf(HasSubstr("resume: --lr was 0.001, is 0.002: the run goes on with 0.002\n"),
                    HasSubstr("resume: --steps was 4, is 5: the run goes on with 5\n"),
                    HasSubstr("resume: ranks was 2, is 1: the same samples and noise, other last bits\n"),
                    HasSubstr("done       5 steps")));
}

TEST_F(Begin, RanksThatAreNotAlikeAreNamed) {
  Words other = small_run(data_, path("unlike")) + Words{"--steps=1"};
  const Words usual = other;
  for (std::string& word : other) {
    if (word == "--threads=1") word = "--threads=2";
  }
  const Finished finished = run(mpirun(1) + usual + Words{":", "-n", "1"} + other, path("log"));
  EXPECT_EQ(finished.exit_code, 0) << finished.output;
  EXPECT_THAT(finished.output, HasSubstr("threads is 2 on rank 1, 1 on rank 0"));
}

TEST_F(Begin, WithoutAveragesTheWeightsThemselvesAreLookedAtAndThatIsSaidOnce) {
  Words command = small_run(data_, path("raw")) + Words{"--steps=2",        "--val_data=" + data_, "--val_every=1",
                                                        "--sample_every=2", "--solver_steps=2",    "--val_images=20"};
  for (std::string& word : command) {
    if (word.starts_with("--ema_decays")) word = "--ema_decays=";
  }
  const Finished finished = run(mpirun(2) + command, path("log"));
  EXPECT_EQ(finished.exit_code, 0) << finished.output;
  EXPECT_EQ(count(finished.output, "--ema_decays is empty"), 1U) << finished.output;
  EXPECT_EQ(count(finished.output, ", raw: loss "), 2U) << finished.output;
  EXPECT_TRUE(std::filesystem::exists(path("raw/samples/step_000000002.png")));
  EXPECT_THAT(read_file(path("raw/events.jsonl")), HasSubstr("\"loss_by_t\":["));
}

// One batch of samples, so that a rank works and the other waits for it, much longer than a step may take.
TEST_F(Begin, AHealthyLookAtSamplesMayTakeLongerThanAStep) {
  Words command = small_run(data_, path("patient")) +
                  Words{"--steps=1", "--sample_every=1", "--net_batch=64", "--solver=euler", "--solver_steps=100"};
  for (std::string& word : command) {
    if (word.starts_with("--step_timeout")) word = "--step_timeout=1.5";
  }
  const Finished finished = run(mpirun(2) + command, path("log"));
  EXPECT_EQ(finished.exit_code, 0) << finished.output;
  EXPECT_GT(finished.seconds, 3) << "too quick to show anything";
}

}  // namespace
}  // namespace cfm::test
