// A loss or gradient that is not finite on any rank skips the update on all of them. The bad number is a real one: the
// network starts from a weights file whose embedding of one class is NaN, and the data have that class where the test
// puts it.

#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/durable_file.h"
#include "data/npz.h"
#include "support/tiny_weights.h"
#include "support/training_run.h"
#include "trainer/guard.h"

namespace cfm::test {
namespace {

constexpr int64_t kImages = 12, kBatch = 4;  // three steps an epoch

// Shards of kImages images; the first `bad` are of class 1, the others of class 0.
std::string shards(const std::filesystem::path& folder, int64_t bad) {
  data::NumpyArray images{"|u1", {kImages, 1, 8, 8}, std::vector<uint8_t>(kImages * 64)};
  for (size_t i = 0; i < images.bytes.size(); ++i) images.bytes[i] = static_cast<uint8_t>(i * 37 + i / 64);
  data::NumpyArray labels{"|u1", {kImages}, std::vector<uint8_t>(kImages, 0)};
  std::fill_n(labels.bytes.begin(), bad, uint8_t{1});
  data::write_npz(folder / "images.npz", {{"images", images}, {"labels", labels}});
  const Finished packed = run({program("cfm_pack"), "--source=" + (folder / "images.npz").string(),
                               "--out=" + folder.string(), "--split=train"},
                              folder / "pack.log");
  if (packed.exit_code != 0) throw std::runtime_error("cfm_pack: " + packed.output);
  return (folder / "train").string();
}

// Weights whose embedding of class 1 is not a number.
std::filesystem::path poisoned_weights(const std::filesystem::path& folder) {
  const models::UNet net(tiny_unet(2), 3);
  const checkpoint::NamedTensors parameters = models::named_parameters(net);
  for (const auto& [name, parameter] : parameters) {
    const at::NoGradGuard no_grad;
    if (name == "label_emb.weight") parameter[1].fill_(NAN);
  }
  checkpoint::WeightsInfo info;
  info.model = tiny_unet(2);
  info.dataset_fingerprint = "none";
  checkpoint::write_safetensors(folder / "poisoned.safetensors", parameters, to_metadata(info));
  return folder / "poisoned.safetensors";
}

std::vector<std::string> training(const std::filesystem::path& folder, const std::string& data,
                                  const std::string& name) {
  return {program("cfm_train"),
          "--train_data=" + data,
          "--run_dir=" + (folder / name).string(),
          "--init_from=" + poisoned_weights(folder).string(),
          "--model_channels=32",
          "--num_res_blocks=1",
          "--channel_mult=1,2",
          "--attention_resolutions=4",
          "--num_heads=2",
          "--num_classes=2",
          "--null_class=false",
          "--dropout=0.1",
          "--global_batch=" + std::to_string(kBatch),
          "--lr=1e-3",
          "--ema_decays=0.9,0.5",
          "--horizontal_flip=false",
          "--log_every=1",
          "--checkpoint_every=1",
          "--keep_last=0",
          "--threads=1"};
}

// What training changes, after a step.
std::map<std::string, at::Tensor> state_after(const std::filesystem::path& run_dir, int64_t step) {
  std::map<std::string, at::Tensor> state;
  const auto dir = checkpoint::checkpoints_folder(run_dir) / checkpoint::step_name(step);
  for (const std::string file : {"model", "ema_0.9", "ema_0.5", "exp_avg", "exp_avg_sq"}) {
    for (const auto& [name, tensor] : checkpoint::read_safetensors(dir / (file + ".safetensors")).tensors)
      state[file + " " + name] = tensor;
  }
  return state;
}

bool same_bits(const std::map<std::string, at::Tensor>& a, const std::map<std::string, at::Tensor>& b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](const auto& x, const auto& y) {
           return x.first == y.first && x.second.nbytes() == y.second.nbytes() &&
                  std::memcmp(x.second.const_data_ptr(), y.second.const_data_ptr(), x.second.nbytes()) == 0;
         });
}

std::vector<int64_t> skipped_steps(const std::filesystem::path& run_dir) {
  std::vector<int64_t> steps;
  for (const nlohmann::json& event : events(run_dir, "skipped")) steps.push_back(event.at("step"));
  return steps;
}

TEST(SkippedUpdate, ANanOnOneRankLeavesWeightsAveragesAndMomentsOfAllAsTheyAre) {
  const TemporaryFolder folder;
  const std::string data = shards(folder.path(), 1);  // one bad image: one bad step in three, bad on one rank
  constexpr int64_t kSteps = 6;
  std::map<long, double> of_one_rank;
  for (const int ranks : {1, 2, 3}) {
    const auto run_dir = folder.path() / std::to_string(ranks);
    const Finished finished = run(mpirun(ranks) + training(folder.path(), data, std::to_string(ranks)) +
                                      std::vector<std::string>{"--steps=" + std::to_string(kSteps), "--max_skipped=2"},
                                  folder.path() / "log");
    ASSERT_EQ(finished.exit_code, 0) << finished.output;
    const std::vector<int64_t> skipped = skipped_steps(run_dir);
    ASSERT_EQ(skipped.size(), 2U) << finished.output;
    ASSERT_GT(skipped[1], skipped[0] + 1) << "the test wants an update between them: choose another seed";
    EXPECT_NE(finished.output.find("step " + std::to_string(skipped[0]) + ": update skipped"), std::string::npos)
        << finished.output;

    for (int64_t step = 2; step <= kSteps; ++step) {
      const bool is_skipped = std::count(skipped.begin(), skipped.end(), step) > 0;
      EXPECT_EQ(same_bits(state_after(run_dir, step - 1), state_after(run_dir, step)), is_skipped) << "step " << step;
    }
    const checkpoint::Progress at =
        checkpoint::read_manifest(checkpoint::checkpoints_folder(run_dir) / checkpoint::step_name(kSteps)).progress;
    EXPECT_EQ(at.step, kSteps);
    EXPECT_EQ(at.images_seen, kSteps * kBatch);
    EXPECT_EQ(at.optimizer_steps, kSteps - 2);

    // Every rank goes on from the same weights: the losses are those of one rank.
    const auto found = losses(run_dir);
    ASSERT_EQ(found.size(), static_cast<size_t>(kSteps - 2));
    if (ranks == 1) of_one_rank = found;
    for (const auto& [step, loss] : of_one_rank) EXPECT_NEAR(found.at(step) / loss, 1, 1e-5) << "step " << step;
  }
}

TEST(SkippedUpdate, SeveralInARowEndTheRunWithExitCode2) {
  const TemporaryFolder folder;
  const std::string data = shards(folder.path(), kImages);
  const Finished finished =
      run(mpirun(2) + training(folder.path(), data, "run") + std::vector<std::string>{"--steps=100", "--max_skipped=3"},
          folder.path() / "log");
  EXPECT_EQ(finished.exit_code, 2) << finished.output;
  EXPECT_NE(finished.output.find("step 3: the gradient was not finite for 3 steps in a row"), std::string::npos)
      << finished.output;
  EXPECT_LT(finished.seconds, 20);
  EXPECT_EQ(checkpoint::committed_steps(folder.path() / "run").back(), 2);
}

TEST(SkippedUpdate, ALossThatIsNotFiniteMakesTheGradientSoEvenWhereItsOwnIsFinite) {
  for (const float bad : {INFINITY, -INFINITY, NAN}) {
    const at::Tensor x = at::full({3}, 2.0).requires_grad_();
    const at::Tensor loss = (x * 5).sum() + bad;  // its derivative is 5
    (loss * trainer::finite_or_nan(0.5, loss)).backward();
    EXPECT_TRUE(x.grad().isnan().all().item<bool>()) << bad;
  }
  const at::Tensor x = at::full({3}, 2.0).requires_grad_();
  const at::Tensor loss = (x * 5).sum();
  (loss * trainer::finite_or_nan(0.5, loss)).backward();
  EXPECT_TRUE(x.grad().equal(at::full({3}, 2.5)));
}

}  // namespace
}  // namespace cfm::test
