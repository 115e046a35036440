// What the command of a resume may change, and what it may not.

#include <gtest/gtest.h>

#include <cmath>

#include "support/training_run.h"

namespace cfm::test {
namespace {

class ChangedFlags : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder;
    data_ = digit_shards(folder_->path(), "train", 0, 100);
    other_data_ = digit_shards(folder_->path(), "other", 100, 100);
    const Finished finished = train("run", {"--steps=1"});
    if (finished.exit_code != 0) throw std::runtime_error(finished.output);
  }
  static void TearDownTestSuite() { delete folder_; }

  static Finished train(const std::string& name, const std::vector<std::string>& flags, int ranks = 0) {
    return run(mpirun(ranks) + with_flags(small_run(data_, folder_->path() / name), flags), folder_->path() / "log");
  }
  // The run that the fixture began, as a copy, gone on with by a command that differs in `flags`.
  static Finished resumed(const std::vector<std::string>& flags, int ranks = 0) {
    std::filesystem::remove_all(folder_->path() / "copy");
    std::filesystem::copy(folder_->path() / "run", folder_->path() / "copy", std::filesystem::copy_options::recursive);
    return train("copy", flags + std::vector<std::string>{"--steps=2"}, ranks);
  }
  static void expect_in(const Finished& finished, const std::string& text) {
    EXPECT_NE(finished.output.find(text), std::string::npos) << "'" << text << "' is not in:\n" << finished.output;
  }

  static inline TemporaryFolder* folder_;
  static inline std::string data_, other_data_;
};

TEST_F(ChangedFlags, OfWhatTheRunIsAreRefusedNamingBothValues) {
  struct Case {
    std::vector<std::string> flags;
    std::string name, now, then;
  };
  const std::vector<Case> cases{
      {{"--seed=7"}, "--seed", "7", "0"},
      {{"--sigma_min=0.01"}, "--sigma_min", "0.01", "1e-05"},
      {{"--path=cosine"}, "--path", "cosine", "ot"},
      {{"--path=vp", "--objective=ddpm"}, "--objective", "ddpm", "fm"},
      {{"--path=vp", "--vp_b1=10"}, "--vp_b1", "10", "20"},
      {{"--time_sampling=logit_normal"}, "--time_sampling", "logit_normal", "uniform"},
      {{"--stratified=true"}, "--stratified", "true", "false"},
      {{"--coupling=minibatch_ot"}, "--coupling", "minibatch_ot", "independent"},
      {{"--coupling=minibatch_ot", "--ot_block=64"}, "--ot_block", "64", "128"},
      {{"--ema_decays=0.999"}, "--ema_decays", "0.999", "0.999,0.9"},
      {{"--ema_warmup=false"}, "--ema_warmup", "false", "true"},
      {{"--horizontal_flip=true"}, "--horizontal_flip", "true", "false"},
      {{"--label_drop=0.2"}, "--label_drop", "0.2", "0.1"},
      {{"--optimizer=adamw"}, "--optimizer", "adamw", "adam"},
      {{"--model_channels=64"}, "model_channels", "64", "32"},
      {{"--channel_mult=2,2"}, "channel_mult", "2,2", "1,2"},
      {{"--use_new_attention_order=false"}, "use_new_attention_order", "false", "true"},
      {{"--time_scale=1"}, "time_scale", "1", "1000"},
      {{"--num_classes=12"}, "num_classes", "12", "10"},
  };
  for (const Case& changed : cases) {
    SCOPED_TRACE(changed.flags[0]);
    const Finished finished = resumed(changed.flags);
    EXPECT_EQ(finished.exit_code, 2) << finished.output;
    expect_in(finished, changed.name + " is " + changed.now);
    expect_in(finished, "was made with " + changed.then);
    expect_in(finished, "another --run_dir");
  }
}

TEST_F(ChangedFlags, OtherDataAreRefused) {
  const Finished finished = resumed({"--train_data=" + other_data_});
  EXPECT_EQ(finished.exit_code, 2) << finished.output;
  expect_in(finished, "--train_data=" + other_data_ + " is not what the run was trained on: other data");
}

TEST_F(ChangedFlags, SeveralAreRefusedTogether) {
  const Finished finished = resumed({"--seed=7", "--label_drop=0.2", "--model_channels=64"}, 2);
  EXPECT_EQ(finished.exit_code, 2) << finished.output;
  for (const std::string name : {"--seed is 7", "--label_drop is 0.2", "model_channels is 64"})
    expect_in(finished, name);
}

TEST_F(ChangedFlags, OfHowTheRunGoesOnMayChange) {
  for (const std::vector<std::string>& flags : {std::vector<std::string>{"--lr=1e-5"},
                                                {"--lr_decay=cosine", "--lr_floor=0"},
                                                {"--clip_norm=1"},
                                                {"--keep_last=5"}}) {
    const Finished finished = resumed(flags);
    EXPECT_EQ(finished.exit_code, 0) << flags[0] << "\n" << finished.output;
    expect_in(finished, "resumed at step 1");
    EXPECT_EQ(losses(folder_->path() / "copy").size(), 2U);
  }
  ASSERT_EQ(resumed({"--lr=1e-5"}).exit_code, 0);
  EXPECT_EQ(events(folder_->path() / "copy", "step").back().at("lr"), 1e-5);
}

TEST_F(ChangedFlags, ThatContinueAreEventsWithBothValuesAndTheStepAndFreeOnesAreNot) {
  const Finished finished = resumed({"--lr=1e-5", "--clip_norm=0.25", "--log_every=1", "--keep_last=7"}, 2);
  ASSERT_EQ(finished.exit_code, 0) << finished.output;
  std::map<std::string, nlohmann::json> changes;
  for (const auto& event : events(folder_->path() / "copy", "config_change")) changes[event.at("flag")] = event;
  ASSERT_EQ(changes.size(), 2U) << finished.output;
  EXPECT_EQ(changes.at("lr").at("old"), "1e-04");
  EXPECT_EQ(changes.at("lr").at("new"), "1e-05");
  EXPECT_EQ(changes.at("clip_norm").at("old"), "0.5");
  EXPECT_EQ(changes.at("clip_norm").at("new"), "0.25");
  for (const auto& [flag, event] : changes) {
    EXPECT_EQ(event.at("step"), 1) << flag;
    EXPECT_EQ(event.at("attempt"), 2) << flag;
  }
}

TEST_F(ChangedFlags, AnotherGlobalBatchIsAnEventWithBothSizes) {
  const Finished finished = resumed({"--global_batch=20"}, 2);
  ASSERT_EQ(finished.exit_code, 0) << finished.output;
  const auto changes = events(folder_->path() / "copy", "config_change");
  ASSERT_EQ(changes.size(), 1U) << finished.output;
  EXPECT_EQ(changes[0].at("flag"), "global_batch");
  EXPECT_EQ(changes[0].at("old"), "50");
  EXPECT_EQ(changes[0].at("new"), "20");
  EXPECT_EQ(changes[0].at("step"), 1);
}

TEST_F(ChangedFlags, DecaysThatAreWrittenOtherwiseAreTheSame) {
  const Finished finished = resumed({"--ema_decays=0.90,0.999"});
  EXPECT_EQ(finished.exit_code, 0) << finished.output;
  EXPECT_EQ(finished.output.find("ema_decays was"), std::string::npos) << finished.output;
}

TEST_F(ChangedFlags, OtherDataThatAreAllowedAreAnEventToo) {
  const Finished finished = resumed({"--train_data=" + other_data_, "--allow_other_data=true"});
  ASSERT_EQ(finished.exit_code, 0) << finished.output;
  const auto changes = events(folder_->path() / "copy", "config_change");
  ASSERT_EQ(changes.size(), 1U);
  EXPECT_EQ(changes[0].at("flag"), "train_data");
  EXPECT_NE(changes[0].at("old"), changes[0].at("new"));
}

// A network that is zero has the loss |x1 - x0|^2 of each sample: the loss of a step tells which samples it saw, with
// which noise. 100 images: the order goes over an epoch's end on the way.
TEST_F(ChangedFlags, AnotherGlobalBatchGoesOnAtTheNextPositionOfTheSameOrder) {
  const auto losses_of = [](const std::string& name, const std::vector<std::vector<std::string>>& starts) {
    for (const auto& flags : starts) {
      const Finished finished = train(
          name, std::vector<std::string>{"--lr=1e-30", "--lr_floor=0", "--label_drop=0", "--dropout=0"} + flags, 2);
      EXPECT_EQ(finished.exit_code, 0) << finished.output;
    }
    return losses(folder_->path() / name);
  };
  const auto changed = losses_of("changed", {{"--global_batch=40", "--steps=2"}, {"--global_batch=20", "--steps=5"}});
  const auto same = losses_of("same", {{"--global_batch=20", "--steps=7"}});
  ASSERT_EQ(changed.size(), 5U);
  ASSERT_EQ(same.size(), 7U);
  for (int step = 1; step <= 2; ++step)  // 40 samples of one step are those of two of 20
    EXPECT_NEAR(changed.at(step) / ((same.at(2 * step - 1) + same.at(2 * step)) / 2), 1, 1e-5);
  for (int step = 3; step <= 5; ++step) EXPECT_NEAR(changed.at(step) / same.at(step + 2), 1, 1e-5) << step;
  for (int step = 2; step <= 7; ++step)
    EXPECT_GT(std::abs(same.at(step) / same.at(step - 1) - 1), 1e-4) << "steps cannot be told apart";
}

TEST_F(ChangedFlags, ThatDecideNumbersAreSaidAndSoIsWhatDecidesTheLastBits) {
  const Finished finished = resumed({"--micro_batch=20", "--precision=bf16", "--channels_last=true"}, 2);
  EXPECT_EQ(finished.exit_code, 0) << finished.output;
  for (const std::string line : {"resume: ranks was 1, is 2: the same samples and noise, other last bits",
                                 "resume: --micro_batch was 13, is 20: the run goes on with 20",
                                 "resume: --precision was fp32, is bf16: the run goes on with bf16",
                                 "resume: --channels_last was false, is true: the run goes on with true"}) {
    expect_in(finished, line);
  }
  EXPECT_EQ(finished.output.find("resume: threads"), std::string::npos) << finished.output;
}

}  // namespace
}  // namespace cfm::test
