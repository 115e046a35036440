// --init_from: a run that starts from a weights file.

#include <gtest/gtest.h>

#include "checkpoint/safetensors.h"
#include "support/training_run.h"

namespace cfm::test {
namespace {

class InitFrom : public testing::Test {
 protected:
  // A short run, whose weights the tests start from.
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder;
    data_ = digit_shards(folder_->path(), "train", 0, 200);
    const Finished finished = train("first", {"--steps=3", "--lr=1e-3", "--zero_init=false"});
    if (finished.exit_code != 0) throw std::runtime_error(finished.output);
  }
  static void TearDownTestSuite() { delete folder_; }

  static Finished train(const std::string& name, const std::vector<std::string>& more, int ranks = 1) {
    return run(mpirun(ranks) + small_run(data_, folder_->path() / name) + more, folder_->path() / "log");
  }
  static std::string weights(const std::string& name, const std::string& file) {
    return (folder_->path() / name / "checkpoints" / file).string();
  }
  static void expect_refused(const std::vector<std::string>& more, const std::vector<std::string>& words) {
    const Finished finished = train("refused", more + std::vector<std::string>{"--steps=1"}, 2);
    EXPECT_EQ(finished.exit_code, 2) << finished.output;
    EXPECT_LT(finished.seconds, 20);
    for (const std::string& word : words)
      EXPECT_NE(finished.output.find(word), std::string::npos) << "'" << word << "' is not in:\n" << finished.output;
  }

  static inline TemporaryFolder* folder_;
  static inline std::string data_;
};

TEST_F(InitFrom, StartsFromExactlyThoseWeightsAndTheirAveragesToo) {
  for (const std::string file : {"model", "ema_0.9"}) {
    const std::string start = weights("first", "step_000000003/" + file + ".safetensors");
    const std::string name = "from_" + file;
    // Another seed, so that fresh weights would be others; a step too small to change a number.
    const Finished finished =
        train(name, {"--init_from=" + start, "--seed=5", "--steps=1", "--lr=1e-30", "--lr_floor=0"}, 2);
    ASSERT_EQ(finished.exit_code, 0) << finished.output;
    const auto expected = checkpoint::read_safetensors(start).tensors;
    ASSERT_GT(expected.size(), 50U);
    for (const std::string part : {"model", "ema_0.999", "ema_0.9"}) {
      const auto found = checkpoint::read_safetensors(weights(name, "step_000000001/" + part + ".safetensors")).tensors;
      ASSERT_EQ(found.size(), expected.size());
      for (size_t i = 0; i < expected.size(); ++i) {
        EXPECT_EQ(found[i].first, expected[i].first);
        EXPECT_TRUE(found[i].second.equal(expected[i].second)) << part << ": " << expected[i].first;
      }
    }
  }
}

TEST_F(InitFrom, IsForTheStartOnlyAResumeGoesOnFromItsCheckpoint) {
  const std::string start = "--init_from=" + weights("first", "step_000000003/model.safetensors");
  ASSERT_EQ(train("whole", {start, "--steps=4", "--lr=1e-3"}).exit_code, 0);
  ASSERT_EQ(train("parts", {start, "--steps=2", "--lr=1e-3"}).exit_code, 0);
  const Finished second = train("parts", {start, "--steps=4", "--lr=1e-3"});
  ASSERT_EQ(second.exit_code, 0) << second.output;
  EXPECT_NE(second.output.find("resumed at step 2"), std::string::npos) << second.output;
  EXPECT_EQ(second.output.find("no effect"), std::string::npos) << second.output;
  expect_same_training(folder_->path() / "parts", folder_->path() / "whole", "step_000000004");
}

TEST_F(InitFrom, OfOtherWeightsIsSaidToHaveNoEffectOnARunThatHasACheckpoint) {
  const auto start = [](const std::string& file) { return "--init_from=" + weights("first", file); };
  ASSERT_EQ(train("other", {start("step_000000003/model.safetensors"), "--steps=1", "--lr=1e-3"}).exit_code, 0);
  const Finished second = train("other", {start("step_000000003/ema_0.9.safetensors"), "--steps=2", "--lr=1e-3"});
  ASSERT_EQ(second.exit_code, 0) << second.output;
  EXPECT_NE(second.output.find("resumed at step 1"), std::string::npos) << second.output;
  EXPECT_NE(second.output.find("ema_0.9.safetensors: it has no effect"), std::string::npos) << second.output;
}

TEST_F(InitFrom, RefusesWeightsOfAnotherNetworkNamingTheFileAndWhatDiffers) {
  const std::string start = weights("first", "step_000000003/model.safetensors");
  expect_refused({"--init_from=" + start, "--use_scale_shift_norm=false"},
                 {start, "use_scale_shift_norm was true there, is false here"});
}

TEST_F(InitFrom, RefusesWhatIsNoWeightsFile) {
  expect_refused({"--init_from=/nowhere.safetensors"}, {"/nowhere.safetensors"});
  const std::string moments = weights("first", "step_000000003/exp_avg.safetensors");
  expect_refused({"--init_from=" + moments}, {moments, "not a weights file"});
  const std::string manifest = weights("first", "step_000000003/manifest.json");
  expect_refused({"--init_from=" + manifest}, {manifest});
}

}  // namespace
}  // namespace cfm::test
