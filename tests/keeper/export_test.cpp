// cfm_checkpoint export, of a run that cfm_train has made and cfm_eval_nll has measured.

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <thread>

#include "checkpoint/retention.h"
#include "checkpoint/store.h"
#include "checkpoint/weights.h"
#include "support/checkpoint_program.h"
#include "support/error_text.h"
#include "support/file_bytes.h"
#include "support/training_run.h"

namespace cfm::keeper {
namespace {

namespace fs = std::filesystem;
using test::bytes_of;
using test::CommandResult;
using test::has;

class Export : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new test::TemporaryFolder;
    const std::string data = test::digit_shards(folder_->path(), "train", 0, 100);
    const std::string held_out = test::digit_shards(folder_->path(), "val", 100, 8);
    must(test::run(test::with_flags(test::small_run(data, run()), {"--steps=2", "--checkpoint_every=1"}), path("log")));
    for (const std::string more : {"--seed=0", "--seed=1"})
      must(test::run({test::program("cfm_eval_nll"), "--run_dir=" + run().string(), "--data=" + held_out,
                      "--solver=euler", "--steps=2", "--check_images=0", "--net_batch=8", more},
                     path("log")));
    must(test::run(
        {test::program("cfm_checkpoint"), "export", "--run_dir=" + run().string(), "--step=2", "--out=" + path("out")},
        path("log")));
  }
  static void TearDownTestSuite() { delete folder_; }

  static void must(const test::Finished& finished) {
    if (finished.exit_code != 0) throw std::runtime_error(finished.output);
  }
  static fs::path run() { return folder_->path() / "run"; }
  static std::string path(const std::string& name) { return (folder_->path() / name).string(); }
  static CommandResult exported(const std::string& arguments) { return test::cfm_checkpoint("export " + arguments); }

  static inline test::TemporaryFolder* folder_;
};

TEST_F(Export, HoldsWeightsFlagsResultsCardAndSumsAndNothingElse) {
  std::vector<std::string> names;
  for (const auto& entry : fs::recursive_directory_iterator(path("out")))
    if (entry.is_regular_file()) names.push_back(entry.path().lexically_relative(path("out")).string());
  std::ranges::sort(names);
  std::vector<std::string> expected{"README.md",         "XXH128SUMS", "ema_0.9.safetensors", "ema_0.999.safetensors",
                                    "model.safetensors", "train.flags"};
  for (const auto& entry : fs::directory_iterator(run() / "results"))
    expected.push_back("results/" + entry.path().filename().string());
  EXPECT_EQ(expected.size(), 10U);  // two results, each with its table
  std::ranges::sort(expected);
  EXPECT_EQ(names, expected);
  EXPECT_FALSE(fs::exists(path("out.tmp")));
  for (const std::string& name : names) {
    if (!name.starts_with("results/")) continue;
    EXPECT_EQ(bytes_of(path("out/" + name)), bytes_of(run() / name)) << name;
  }
  for (const char* weights : {"model", "ema_0.9", "ema_0.999"}) {
    const std::string file = std::string(weights) + ".safetensors";
    EXPECT_EQ(bytes_of(path("out/" + file)), bytes_of(run() / "checkpoints/step_000000002" / file));
  }
}

TEST_F(Export, HasSumsThatXxhsumAndVerifyCheck) {
  const std::string check = "cd " + path("out") + " && xxhsum -c XXH128SUMS";
  EXPECT_EQ(test::run_command(check).exit_code, 0) << test::run_command(check).output;
  const CommandResult whole = test::cfm_checkpoint("verify " + path("out"));
  EXPECT_EQ(whole.exit_code, 0) << whole.output;
  EXPECT_TRUE(has(whole.output, {"whole    README.md", "whole    train.flags", "9 files"}));
  fs::copy(path("out"), path("damaged"), fs::copy_options::recursive);
  test::flip_bit(path("damaged/ema_0.9.safetensors"), 7000);
  EXPECT_NE(test::run_command("cd " + path("damaged") + " && xxhsum -c XXH128SUMS").exit_code, 0);
  const CommandResult damaged = test::cfm_checkpoint("verify " + path("damaged"));
  EXPECT_EQ(damaged.exit_code, 2);
  EXPECT_TRUE(has(damaged.output, {"DAMAGED  ema_0.9.safetensors", "XXH128SUMS says", "1 of 9 files"}));
  EXPECT_EQ(test::cfm_checkpoint("verify " + path("damaged/model.safetensors")).exit_code, 0);
  EXPECT_EQ(test::cfm_checkpoint("verify " + path("damaged/ema_0.9.safetensors")).exit_code, 2);
}

TEST_F(Export, HasFlagsThatTrainTheSameBits) {
  const test::Finished again = test::run(
      {test::program("cfm_train"), "--flagfile=" + path("out/train.flags"), "--run_dir=" + path("again")}, path("log"));
  ASSERT_EQ(again.exit_code, 0) << again.output;
  test::expect_same_training(folder_->path() / "again", run(), "step_000000002");
}

TEST_F(Export, HasACardWithEachNumberAndTheCommandBehindIt) {
  const std::string card = bytes_of(path("out/README.md"));
  int results = 0;
  for (const auto& entry : fs::directory_iterator(run() / "results")) {
    if (entry.path().extension() != ".json") continue;
    ++results;
    const nlohmann::json result = nlohmann::json::parse(bytes_of(entry.path()));
    EXPECT_TRUE(has(card, {("| bits_per_dim | " + result.at("bits_per_dim").dump() + " |").c_str(),
                           ("| standard_error | " + result.at("standard_error").dump() + " |").c_str(),
                           ("```\n" + result.at("command").get<std::string>() + "\n```").c_str(),
                           entry.path().filename().c_str()}));
    EXPECT_TRUE(
        has(result.at("command").get<std::string>(), {"cfm_eval_nll --run_dir=", " --solver=euler", " --steps=2"}));
  }
  EXPECT_EQ(results, 2);
  const checkpoint::Manifest manifest = checkpoint::read_manifest(run() / "checkpoints/step_000000002");
  EXPECT_TRUE(has(card, {"# run, step 2", "1 x 8 x 8", "10, and label 10 for none", "ot, sigma_min 1e-05",
                         "2 steps, 100 images", manifest.dataset_fingerprint.c_str(), manifest.source_revision.c_str(),
                         "cfm_train --flagfile=train.flags", "decay 0.999 |", "xxhsum -c XXH128SUMS"}));
  int64_t parameters = 0;
  for (const auto& [name, tensor] : checkpoint::read_safetensors(path("out/model.safetensors")).tensors)
    parameters += tensor.numel();
  std::string digits = card.substr(card.find("U-Net, ") + 7);
  digits = digits.substr(0, digits.find(" parameters"));
  std::erase(digits, ',');
  EXPECT_EQ(digits, std::to_string(parameters));
}

TEST_F(Export, TakesTheNewestStepUnlessOneIsNamed) {
  ASSERT_EQ(exported("--run_dir=" + run().string() + " --out=" + path("newest/")).exit_code, 0);
  EXPECT_EQ(checkpoint::load_weights_file(path("newest/model.safetensors")).info.step, 2);
  ASSERT_EQ(exported("--run_dir=" + run().string() + " --step=1 --out=" + path("first")).exit_code, 0);
  EXPECT_EQ(checkpoint::load_weights_file(path("first/model.safetensors")).info.step, 1);
  EXPECT_FALSE(fs::exists(path("first/results")));  // of another step
  EXPECT_TRUE(has(bytes_of(path("first/README.md")), {"Nothing was measured"}));
}

// The run's trainer, played by what it does behind a save, while the checkpoint is being copied, or verified.
TEST_F(Export, AndVerifyHoldTheCheckpointMeanwhileSoThatTheTrainerDoesNotDeleteIt) {
  fs::copy(run(), path("busy"), fs::copy_options::recursive);
  const std::string on_step_1 = "CFM_FAIL_AT=read:step_000000001/model.safetensors:1:";
  test::Running job({"env", on_step_1 + path("go"), test::program("cfm_checkpoint"), "export",
                     "--run_dir=" + path("busy"), "--step=1", "--out=" + path("held")},
                    path("log"));
  test::Running verifying(
      {"env", on_step_1 + path("go"), test::program("cfm_checkpoint"), "verify", "--run_dir=" + path("busy")},
      path("verify.log"));
  while (!job.ended() && !fs::exists(path("held.tmp"))) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_FALSE(job.ended()) << bytes_of(path("log"));
  while (!verifying.ended() && bytes_of(path("verify.log")).find("whole    manifest.json") == std::string::npos)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_FALSE(verifying.ended()) << bytes_of(path("verify.log"));
  checkpoint::StoreConfig retention;
  retention.run_dir = path("busy");
  retention.keep_last = 1;
  EXPECT_EQ(checkpoint::Retention(retention).apply(), Problems());
  EXPECT_TRUE(checkpoint::is_committed(path("busy"), 1));
  test::put_bytes(path("go"), "");
  const test::Finished finished = job.wait();
  EXPECT_EQ(finished.exit_code, 0) << finished.output;
  EXPECT_EQ(verifying.wait().exit_code, 0) << bytes_of(path("verify.log"));
  EXPECT_EQ(test::cfm_checkpoint("verify " + path("held")).exit_code, 0);
  EXPECT_EQ(checkpoint::Retention(retention).apply(), Problems());
  EXPECT_FALSE(checkpoint::is_committed(path("busy"), 1));
}

TEST_F(Export, AndVerifySkipsWhatTheTrainerHasDeletedMeanwhile) {
  fs::copy(run(), path("deleting"), fs::copy_options::recursive);
  test::Running job({"env", "CFM_FAIL_AT=read:step_000000001/model.safetensors:1:" + path("on"),
                     test::program("cfm_checkpoint"), "verify", "--run_dir=" + path("deleting")},
                    path("log"));
  while (!job.ended() && bytes_of(path("log")).find("whole    manifest.json") == std::string::npos)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  fs::remove_all(path("deleting/checkpoints/step_000000002"));
  test::put_bytes(path("on"), "");
  const test::Finished finished = job.wait();
  EXPECT_EQ(finished.exit_code, 0) << finished.output;
  EXPECT_TRUE(has(finished.output, {"step_000000002\n  skipped  its trainer has deleted it meanwhile"}))
      << finished.output;
}

TEST_F(Export, RefusesWhatIsThereNotThereOrDamagedAndLeavesNothing) {
  const CommandResult there = exported("--run_dir=" + run().string() + " --out=" + path("out"));
  EXPECT_EQ(there.exit_code, 2);
  EXPECT_TRUE(has(there.output, {"is there already"}));
  EXPECT_TRUE(
      has(exported("--run_dir=" + run().string() + " --step=7 --out=" + path("x")).output, {"--step=7", "1, 2"}));
  EXPECT_TRUE(has(exported("--run_dir=/nowhere --out=" + path("x")).output, {"/nowhere", "no such folder"}));
  EXPECT_TRUE(has(exported("--run_dir=" + run().string()).output, {"--out is missing"}));
  fs::copy(run(), path("torn"), fs::copy_options::recursive);
  test::flip_bit(path("torn/checkpoints/step_000000002/ema_0.999.safetensors"), 9000);
  const CommandResult damaged = exported("--run_dir=" + path("torn") + " --out=" + path("x"));
  EXPECT_EQ(damaged.exit_code, 2);
  EXPECT_TRUE(has(damaged.output, {"ema_0.999.safetensors", "damaged"}));
  EXPECT_FALSE(fs::exists(path("x")) || fs::exists(path("x.tmp")));
}

}  // namespace
}  // namespace cfm::keeper
