// --branch_from=RUN@STEP: a run that begins from a checkpoint of another one.

#include <ATen/TensorOperators.h>
#include <ATen/ops/allclose.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <thread>

#include "checkpoint/retention.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/store.h"
#include "support/file_bytes.h"
#include "support/training_run.h"

namespace cfm::test {
namespace {

using Words = std::vector<std::string>;

class Branch : public testing::Test {
 protected:
  // A run whose checkpoints of steps 2 and 4 the tests begin from.
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder;
    data_ = digit_shards(folder_->path(), "train", 0, 200);
    const Finished finished =
        train("trunk", {"--steps=4", "--checkpoint_every=2", "--keep_last=0", "--lr=1e-2", "--zero_init=false"});
    if (finished.exit_code != 0) throw std::runtime_error(finished.output);
  }
  static void TearDownTestSuite() { delete folder_; }

  static std::filesystem::path path(const std::string& name) { return folder_->path() / name; }
  static std::string from(const std::string& run, int step) {
    return "--branch_from=" + path(run).string() + "@" + std::to_string(step);
  }
  static Finished train(const std::string& name, const Words& more, int ranks = 2) {
    return run(mpirun(ranks) + with_flags(small_run(data_, path(name)), more), path("log"));
  }
  static checkpoint::NamedTensors tensors(const std::string& run, const std::string& file) {
    return checkpoint::read_safetensors(path(run) / "checkpoints" / file).tensors;
  }
  static void expect_equal(const checkpoint::NamedTensors& found, const checkpoint::NamedTensors& expected) {
    ASSERT_EQ(found.size(), expected.size());
    ASSERT_GT(found.size(), 50U);
    for (size_t i = 0; i < found.size(); ++i)
      EXPECT_TRUE(found[i].second.equal(expected[i].second)) << expected[i].first;
  }
  static void expect_refused(const Finished& finished, const Words& words) {
    EXPECT_EQ(finished.exit_code, 2) << finished.output;
    for (const std::string& word : words)
      EXPECT_NE(finished.output.find(word), std::string::npos) << "'" << word << "' is not in:\n" << finished.output;
  }

  static inline TemporaryFolder* folder_;
  static inline std::string data_;
};

// A step too small to change a number: what is saved behind it is what the run began with.
TEST_F(Branch, TakesWeightsAndEachAverageAndBeginsAtStepZeroWithFreshMoments) {
  const Finished finished = train("exact", {from("trunk", 2), "--seed=5", "--steps=1", "--lr=1e-30", "--lr_floor=0",
                                            "--ema_decays=0.999,0.5", "--clip_norm=0"});
  ASSERT_EQ(finished.exit_code, 0) << finished.output;
  expect_equal(tensors("exact", "step_000000001/model.safetensors"),
               tensors("trunk", "step_000000002/model.safetensors"));
  // 0.5 is not there: it begins as the weights.
  expect_equal(tensors("exact", "step_000000001/ema_0.5.safetensors"),
               tensors("trunk", "step_000000002/model.safetensors"));
  EXPECT_NE(finished.output.find("ema_0.5 is not there"), std::string::npos) << finished.output;
  // The warm-up goes on: update 2 (of the trunk's count) keeps min(0.999, 3/12) of the average; a fresh one would keep
  // 1/10 of it.
  const auto weights = tensors("trunk", "step_000000002/model.safetensors");
  const auto average = tensors("trunk", "step_000000002/ema_0.999.safetensors");
  const auto found = tensors("exact", "step_000000001/ema_0.999.safetensors");
  double largest = 0, from_expected = 0;
  for (size_t i = 0; i < found.size(); ++i) {
    const at::Tensor expected = 0.25 * average[i].second + 0.75 * weights[i].second;
    from_expected = std::max(from_expected, (found[i].second - expected).abs().max().item<double>());
    largest = std::max(largest, (average[i].second - weights[i].second).abs().max().item<double>());
  }
  EXPECT_GT(largest, 1e-3) << "average and weights are too near to tell";
  EXPECT_LT(from_expected, 1e-6);
  // exp_avg after one update from zero is (1 - beta1) times the gradient: one of the same size as (1 - beta2)'s root.
  const auto first = tensors("exact", "step_000000001/exp_avg.safetensors");
  const auto second = tensors("exact", "step_000000001/exp_avg_sq.safetensors");
  for (size_t i = 0; i < first.size(); ++i) {
    const at::Tensor gradient = first[i].second / 0.1;
    EXPECT_TRUE(at::allclose(gradient * gradient, second[i].second / 0.001, 1e-3, 1e-12)) << first[i].first;
  }
  const checkpoint::Manifest manifest = checkpoint::read_manifest(path("exact") / "checkpoints" / "step_000000001");
  EXPECT_EQ(manifest.progress.images_seen, 50);
  EXPECT_EQ(manifest.progress.optimizer_steps, 1);
}

TEST_F(Branch, IsWrittenDownInManifestEventsAndWeights) {
  ASSERT_EQ(train("told", {from("trunk", 4), "--steps=1"}).exit_code, 0);
  const std::filesystem::path made = path("told") / "checkpoints" / "step_000000001";
  const auto branch = checkpoint::read_manifest(made).branched_from;
  ASSERT_TRUE(branch);
  EXPECT_EQ(branch->run, std::filesystem::canonical(path("trunk")).string());
  EXPECT_EQ(branch->step, 4);
  EXPECT_EQ(branch->updates, 4);
  const auto told = events(path("told"), "branch");
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told[0].at("from_step"), 4);
  EXPECT_EQ(told[0].at("from_run"), branch->run);
  EXPECT_EQ(checkpoint::read_safetensors_metadata(made / "model.safetensors").at("branched_from"), branch->run + "@4");
  // A branch of the branch counts all updates of its averages.
  ASSERT_EQ(train("again", {from("told", 1), "--steps=1"}).exit_code, 0);
  EXPECT_EQ(checkpoint::read_manifest(path("again") / "checkpoints" / "step_000000001").branched_from->updates, 5);
}

// The other run's trainer, played by what it does behind a save, while the checkpoint is being read.
TEST_F(Branch, HoldsTheCheckpointThatItReadsSoThatTheOtherRunDoesNotDeleteIt) {
  std::filesystem::copy(path("trunk"), path("busy"), std::filesystem::copy_options::recursive);
  const std::string go = path("go").string();
  const Words armed{"env", "CFM_FAIL_AT=read:step_000000002/ema_0.9.safetensors:1:" + go};
  Running job(armed + mpirun(2) + with_flags(small_run(data_, path("reader")), {from("busy", 2), "--steps=1"}),
              path("log"));
  const auto is_held = [] {
    std::error_code none;
    for (const auto& entry : std::filesystem::directory_iterator(path("busy") / "readers", none))
      if (entry.path().filename().string().starts_with("step_000000002.")) return true;
    return false;
  };
  while (!job.ended() && !is_held()) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_FALSE(job.ended()) << bytes_of(path("log"));
  checkpoint::StoreConfig retention;
  retention.run_dir = path("busy");
  retention.keep_last = 1;
  EXPECT_EQ(checkpoint::Retention(retention).apply(), Problems());
  EXPECT_TRUE(checkpoint::is_committed(path("busy"), 2));
  put_bytes(go, "");
  const Finished finished = job.wait();
  EXPECT_EQ(finished.exit_code, 0) << finished.output;
  EXPECT_FALSE(is_held());
  EXPECT_EQ(checkpoint::Retention(retention).apply(), Problems());
  EXPECT_FALSE(checkpoint::is_committed(path("busy"), 2));
}

TEST_F(Branch, ResumesByTheSameCommandBitForBitEvenWhenTheOtherRunIsGone) {
  std::filesystem::copy(path("trunk"), path("passing"), std::filesystem::copy_options::recursive);
  ASSERT_EQ(train("whole", {from("passing", 4), "--steps=4"}).exit_code, 0);
  ASSERT_EQ(train("parts", {from("passing", 4), "--steps=2"}).exit_code, 0);
  std::filesystem::remove_all(path("passing"));
  const Finished second = train("parts", {from("passing", 4), "--steps=4"});
  ASSERT_EQ(second.exit_code, 0) << second.output;
  EXPECT_NE(second.output.find("resumed at step 2"), std::string::npos) << second.output;
  EXPECT_EQ(events(path("parts"), "branch").size(), 1U);
  expect_same_training(path("parts"), path("whole"), "step_000000004");
  EXPECT_EQ(train("parts", {"--steps=4"}).exit_code, 0) << "the flag may go once there is a checkpoint";
}

TEST_F(Branch, OfAnotherNetworkIsRefusedNamingBothValues) {
  expect_refused(train("other", {from("trunk", 4), "--steps=1", "--model_channels=64"}),
                 {from("trunk", 4) + ": the network's model_channels was 32 there, is 64 here", "--model_channels=32"});
  EXPECT_FALSE(std::filesystem::exists(path("other") / "checkpoints"));
}

TEST_F(Branch, FromAStepThatThereIsNotListsThoseThereAre) {
  expect_refused(train("nowhere", {from("trunk", 3), "--steps=1"}), {"no checkpoint of step 3", "of steps 2, 4"});
  expect_refused(train("nowhere", {from("no_such_run", 3), "--steps=1"}), {"there is no run", "no_such_run"});
  expect_refused(train("nowhere", {"--branch_from=" + path("trunk").string(), "--steps=1"}), {"expected RUN@STEP"});
  expect_refused(train("nowhere", {from("trunk", 4), "--init_from=x.safetensors", "--steps=1"}), {"give one"});
}

TEST_F(Branch, FromADamagedCheckpointIsRefusedAndNothingIsRenamedThere) {
  std::filesystem::copy(path("trunk"), path("damaged"), std::filesystem::copy_options::recursive);
  const auto file = path("damaged") / "checkpoints/step_000000004/exp_avg.safetensors";
  std::filesystem::resize_file(file, std::filesystem::file_size(file) - 4);
  expect_refused(train("from_damaged", {from("damaged", 4), "--steps=1"}), {"exp_avg.safetensors"});
  EXPECT_TRUE(std::filesystem::exists(file));
}

TEST_F(Branch, IntoARunThatHasCheckpointsOfItsOwnIsRefused) {
  ASSERT_EQ(train("own", {"--steps=1"}).exit_code, 0);
  expect_refused(train("own", {from("trunk", 4), "--steps=2"}),
                 {"has checkpoints of its own", "did not begin from another run"});
  ASSERT_EQ(train("from_two", {from("trunk", 2), "--steps=1"}).exit_code, 0);
  expect_refused(train("from_two", {from("trunk", 4), "--steps=2"}), {"began from", "trunk@2"});
}

}  // namespace
}  // namespace cfm::test
