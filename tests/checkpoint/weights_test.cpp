#include "checkpoint/weights.h"

#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <gtest/gtest.h>

#include "base/hash.h"
#include "checkpoint/store.h"
#include "support/error_text.h"
#include "support/file_bytes.h"
#include "support/scratch_directory.h"
#include "support/tiny_weights.h"

namespace cfm::checkpoint {
namespace {

using test::error_text;
using test::has;
using test::tiny_unet;

WeightsInfo example() {
  WeightsInfo info;
  info.model = tiny_unet(3);
  info.path = "ve";
  info.objective = "sm";
  info.path_parameters = {{"ve_smin", "0.01"}, {"ve_smax", "50"}};
  info.t_end = 0.99999;
  info.sigma0 = 50;
  info.ema_decay = 0.9999;
  info.step = 1200;
  info.dataset_fingerprint = "feed";
  return info;
}

class WeightsFile : public testing::Test {
 protected:
  tests::ScratchDirectory scratch_;
  std::filesystem::path file_ = scratch_.path() / "w.safetensors";
};

TEST(WeightsDescription, ComesBackAsItWas) {
  const WeightsInfo back = weights_info(to_metadata(example()), "here");
  EXPECT_EQ(to_metadata(back), to_metadata(example()));
  EXPECT_EQ(back.model.num_classes, 3);
  EXPECT_EQ(back.path, "ve");
  EXPECT_EQ(back.objective, "sm");
  EXPECT_EQ(back.path_parameters, example().path_parameters);
  EXPECT_EQ(back.t_end, 0.99999);
  EXPECT_EQ(back.sigma0, 50);
  EXPECT_EQ(back.step, 1200);
  EXPECT_EQ(weights_name(back), "ema_0.9999");
}

TEST(WeightsDescription, TellsAReaderOfTheFileWhatTheNetworkMeans) {
  const Metadata metadata = to_metadata(example());
  EXPECT_EQ(metadata.at("image_shape"), "1,8,8");
  EXPECT_EQ(metadata.at("time_scale"), "1000");
  EXPECT_EQ(metadata.at("classes"), "3");
  EXPECT_EQ(metadata.at("null_label"), "-1");
  EXPECT_EQ(metadata.at("qkv_order"), "all q, all k, all v");
  EXPECT_EQ(metadata.at("path"), "ve");
  EXPECT_EQ(metadata.at("path.ve_smax"), "50");
  EXPECT_EQ(metadata.at("objective"), "sm");
  EXPECT_EQ(metadata.at("model.model_channels"), "32");
}

TEST(WeightsDescription, OfTheFirstFilesHasOneNumberOfThePathAndAPriorOfWidthOne) {
  Metadata metadata = to_metadata(WeightsInfo{.model = tiny_unet(3)});
  metadata.erase("sigma0");
  metadata.erase("path.sigma_min");
  metadata["sigma_min"] = "0.0001";
  const WeightsInfo back = weights_info(metadata, "here");
  EXPECT_EQ(back.path_parameters, (Metadata{{"sigma_min", "0.0001"}}));
  EXPECT_EQ(back.sigma0, 1);
}

TEST(WeightsDescription, NamesWhatIsMissingOrNotUnderstood) {
  const auto refusal = [](const std::string& key, const char* value) {
    Metadata metadata = to_metadata(example());
    if (value == nullptr) {
      metadata.erase(key);
    } else {
      metadata[key] = value;
    }
    return error_text([&] { weights_info(metadata, "here"); });
  };
  EXPECT_TRUE(has(refusal("sigma0", nullptr), {"here", "no 'sigma0'"}));
  EXPECT_TRUE(has(refusal("sigma0", "small"), {"'sigma0' is 'small'", "number"}));
  EXPECT_TRUE(has(refusal("pixel_map", "y = x/127.5 - 1"), {"127.5", "128"}));
  EXPECT_TRUE(has(refusal("time_direction", "t=1 noise"), {"t=0 noise"}));
  EXPECT_TRUE(has(refusal("model.image_size", "7.5"), {"here", "image_size"}));
  EXPECT_TRUE(has(refusal("model.model_channels", "-16"), {"here", "model_channels"}));
  EXPECT_TRUE(has(error_text([] { weights_info({{"format", "pt"}}, "here"); }), {"describes no network"}));
}

TEST_F(WeightsFile, GivesBackTheNetworkInEvaluationMode) {
  models::UNet net(tiny_unet(3), 7);
  write_safetensors(file_, models::named_parameters(net), to_metadata(example()));
  const Weights weights = load_weights_file(file_);
  const auto expected = models::named_parameters(net), found = models::named_parameters(*weights.net);
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i) {
    EXPECT_TRUE(at::equal(found[i].second, expected[i].second)) << found[i].first;
    EXPECT_FALSE(found[i].second.requires_grad());
  }
  EXPECT_FALSE(weights.net->is_training());
  const std::string bytes = test::bytes_of(file_);
  EXPECT_EQ(weights.hash, xxh3_128_hex(bytes.data(), bytes.size()));
}

TEST_F(WeightsFile, OfAnotherNetworkIsRefusedByTensor) {
  models::UNet net(tiny_unet(0), 7);
  write_safetensors(file_, models::named_parameters(net), to_metadata(example()));
  EXPECT_TRUE(has(error_text([&] { load_weights_file(file_); }), {"w.safetensors", "label_emb.weight", "missing"}));
  WeightsInfo wider = example();
  wider.model.num_classes = 0;
  wider.model.model_channels = 64;
  write_safetensors(file_, models::named_parameters(net), to_metadata(wider));
  EXPECT_TRUE(has(error_text([&] { load_weights_file(file_); }), {"time_embed.0.weight", "expected"}));
}

class RunWeights : public testing::Test {
 protected:
  void SetUp() override {
    test::write_tiny_checkpoint(run_dir_, 100, 0, {0.9, 0.9999});
    test::write_tiny_checkpoint(run_dir_, 200, 0, {0.9, 0.9999});
  }
  tests::ScratchDirectory scratch_;
  std::filesystem::path run_dir_ = scratch_.path() / "run";
};

TEST_F(RunWeights, AreTheLongestEmaOfTheNewestStepUnlessNamed) {
  const Weights newest = load_run_weights(run_dir_, kNewestStep, "");
  EXPECT_EQ(newest.info.step, 200);
  EXPECT_EQ(newest.info.ema_decay, 0.9999);
  EXPECT_EQ(newest.file, run_dir_ / "checkpoints/step_000000200/ema_0.9999.safetensors");
  EXPECT_EQ(load_run_weights(run_dir_, 100, "raw").file, run_dir_ / "checkpoints/step_000000100/model.safetensors");
  EXPECT_EQ(load_run_weights(run_dir_, 200, "ema_0.9").info.ema_decay, 0.9);
}

TEST_F(RunWeights, ListWhatThereIsWhenAskedForAnythingElse) {
  EXPECT_TRUE(has(error_text([&] { load_run_weights(run_dir_, 200, "ema_0.5"); }),
                  {"--weights=ema_0.5", "raw, ema_0.9, ema_0.9999"}));
  EXPECT_TRUE(has(error_text([&] { load_run_weights(run_dir_, 150, ""); }), {"--step=150", "100, 200"}));
  EXPECT_TRUE(has(error_text([&] { load_run_weights(run_dir_ / "none", 150, ""); }), {"none", "no such folder"}));
  EXPECT_TRUE(has(error_text([&] { load_run_weights(scratch_.path(), kNewestStep, ""); }), {"no checkpoints yet"}));
}

TEST_F(RunWeights, AreVerified) {
  test::flip_bit(run_dir_ / "checkpoints/step_000000200/model.safetensors", 5000);
  EXPECT_TRUE(
      has(error_text([&] { load_run_weights(run_dir_, kNewestStep, "raw"); }), {"model.safetensors", "damaged"}));
  EXPECT_NO_THROW(load_run_weights(run_dir_, kNewestStep, ""));
}

}  // namespace
}  // namespace cfm::checkpoint
