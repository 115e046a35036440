// Every flagfile that we ship parses, validates, and gives the network and the hyper-parameters that it says. Expected:
// Lipman et al., arXiv:2210.02747v2, Table 3 and appendix E.2; the parameter counts of guided-diffusion's code with
// those sizes, and those that torchcfm and flow_matching publish of theirs.

#include <gflags/gflags.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <numeric>
#include <set>

#include "models/unet.h"
#include "trainer/flags.h"

namespace cfm::trainer {
namespace {

struct Expected {
  std::string name;
  int64_t image_size, channels;  // of the data
  int64_t parameters;
  int64_t steps, global_batch;
  double lr;
  std::string lr_decay;
  int64_t warmup_steps;
  std::string precision;
  std::string path = "ot", objective = "fm";
  bool of_the_paper() const {
    return !name.starts_with("digits") && !name.ends_with("_torchcfm") && !name.ends_with("_flow_matching");
  }
};

const std::vector<Expected> kConfigs{
    // Lipman et al. Iterations, batch, learning rate, schedule, warm-up: Table 3. "16-bit mixed": bf16.
    {"cifar10_ot", 32, 3, 171'268'099, 391'000, 256, 5e-4, "polynomial", 45'000, "fp32"},
    {"imagenet32_ot", 32, 3, 228'149'507, 250'000, 1024, 1e-4, "polynomial", 20'000, "fp32"},
    {"imagenet64_ot", 64, 3, 295'131'267, 157'000, 2048, 1e-4, "constant", 0, "bf16"},
    {"imagenet128_ot", 128, 3, 542'804'483, 500'000, 1536, 1e-4, "polynomial", 20'000, "bf16"},
    // Table 1's other rows: "same architecture, hyper-parameters" (appendix E).
    {"cifar10_vp", 32, 3, 171'268'099, 391'000, 256, 5e-4, "polynomial", 45'000, "fp32", "vp", "fm"},
    {"cifar10_ddpm", 32, 3, 171'268'099, 391'000, 256, 5e-4, "polynomial", 45'000, "fp32", "vp", "ddpm"},
    {"cifar10_sm", 32, 3, 171'268'099, 391'000, 256, 5e-4, "polynomial", 45'000, "fp32", "vp", "sm"},
    {"cifar10_scoreflow", 32, 3, 171'268'099, 391'000, 256, 5e-4, "polynomial", 45'000, "fp32", "vp", "scoreflow"},
    {"imagenet32_vp", 32, 3, 228'149'507, 250'000, 1024, 1e-4, "polynomial", 20'000, "fp32", "vp", "fm"},
    {"imagenet32_ddpm", 32, 3, 228'149'507, 250'000, 1024, 1e-4, "polynomial", 20'000, "fp32", "vp", "ddpm"},
    {"imagenet32_sm", 32, 3, 228'149'507, 250'000, 1024, 1e-4, "polynomial", 20'000, "fp32", "vp", "sm"},
    {"imagenet32_scoreflow", 32, 3, 228'149'507, 250'000, 1024, 1e-4, "polynomial", 20'000, "fp32", "vp", "scoreflow"},
    {"imagenet64_vp", 64, 3, 295'131'267, 157'000, 2048, 1e-4, "constant", 0, "bf16", "vp", "fm"},
    {"imagenet64_ddpm", 64, 3, 295'131'267, 157'000, 2048, 1e-4, "constant", 0, "bf16", "vp", "ddpm"},
    {"imagenet64_sm", 64, 3, 295'131'267, 157'000, 2048, 1e-4, "constant", 0, "bf16", "vp", "sm"},
    {"imagenet64_scoreflow", 64, 3, 295'131'267, 157'000, 2048, 1e-4, "constant", 0, "bf16", "vp", "scoreflow"},
    // At 128 pixels the paper trains by OT alone.
    {"imagenet128_vp", 128, 3, 542'804'483, 500'000, 1536, 1e-4, "polynomial", 20'000, "bf16", "vp", "fm"},
    {"imagenet128_ddpm", 128, 3, 542'804'483, 500'000, 1536, 1e-4, "polynomial", 20'000, "bf16", "vp", "ddpm"},
    {"imagenet128_sm", 128, 3, 542'804'483, 500'000, 1536, 1e-4, "polynomial", 20'000, "bf16", "vp", "sm"},
    {"imagenet128_scoreflow", 128, 3, 542'804'483, 500'000, 1536, 1e-4, "polynomial", 20'000, "bf16", "vp",
     "scoreflow"},
    // torchcfm: examples/images/cifar10.
    {"cifar10_torchcfm", 32, 3, 35'746'307, 400'001, 128, 2e-4, "constant", 5'000, "fp32"},
    // flow_matching: examples/image, without its label embedding; 1800 epochs of 97 steps.
    {"cifar10_flow_matching", 32, 3, 55'676'419, 174'600, 512, 1e-4, "constant", 0, "bf16"},
    // Ours; the count is that of the same network in PyTorch (tests/models/unet_reference.py).
    {"digits", 8, 1, 1'816'641, 800, 128, 1e-3, "cosine", 100, "bf16"},
    {"digits_vp", 8, 1, 1'816'641, 800, 128, 1e-3, "cosine", 100, "bf16", "vp", "fm"},
    {"digits_ddpm", 8, 1, 1'816'641, 800, 128, 1e-3, "cosine", 100, "bf16", "vp", "ddpm"},
    {"digits_sm", 8, 1, 1'816'641, 800, 128, 1e-3, "cosine", 100, "bf16", "vp", "sm"},
    {"digits_scoreflow", 8, 1, 1'816'641, 800, 128, 1e-3, "cosine", 100, "bf16", "vp", "scoreflow"},
    {"digits_minibatch_ot", 8, 1, 1'816'641, 800, 128, 1e-3, "cosine", 100, "bf16"},
};

// The configuration of a flagfile, on data of this shape.
TrainConfig read(const Expected& expected) {
  const gflags::FlagSaver defaults_again;
  const auto config = read_flags({"--flagfile=" CFM_SOURCE_DIR "/configs/" + expected.name + ".flags", "--run_dir=r",
                                  "--train_data=d", "--val_data=v"});
  EXPECT_TRUE(config) << expected.name;
  TrainConfig fitted = *config;
  fitted.model.image_size = expected.image_size;
  fitted.model.in_channels = fitted.model.out_channels = expected.channels;
  return fitted;
}

const Expected& named(const std::string& name) { return *std::ranges::find(kConfigs, name, &Expected::name); }

int64_t parameters(const models::UNetConfig& model) {
  int64_t total = 0;
  for (const auto& [name, shape] : models::parameter_shapes(model))
    total += std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
  return total;
}

TEST(Configs, AreAllInTheTable) {
  std::set<std::string> found, expected;
  for (const auto& entry : std::filesystem::directory_iterator(CFM_SOURCE_DIR "/configs")) {
    if (entry.path().extension() == ".flags") found.insert(entry.path().stem().string());
  }
  for (const Expected& config : kConfigs) expected.insert(config.name);
  EXPECT_EQ(found, expected);
}

TEST(Configs, EachGivesTheNetworkThatItSays) {
  for (const Expected& expected : kConfigs) {
    const TrainConfig config = read(expected);
    EXPECT_EQ(config.model.validate(), Problems{}) << expected.name;
    EXPECT_EQ(parameters(config.model), expected.parameters) << expected.name;
  }
}

TEST(Configs, EachTrainsByTheSettingsThatItSays) {
  for (const Expected& expected : kConfigs) {
    SCOPED_TRACE(expected.name);
    const TrainConfig config = read(expected);
    EXPECT_EQ(config.steps, expected.steps);
    EXPECT_EQ(config.global_batch, expected.global_batch);
    EXPECT_EQ(config.schedule.lr, expected.lr);
    EXPECT_EQ(config.schedule.lr_decay, expected.lr_decay);
    EXPECT_EQ(config.schedule.warmup_steps, expected.warmup_steps);
    EXPECT_EQ(config.precision, expected.precision);
    EXPECT_EQ(config.flow_config.path.path, expected.path);
    EXPECT_EQ(config.flow_config.objective, expected.objective);
    // ScoreFlow's weights are met by the times, where they can be.
    EXPECT_EQ(config.times.time_sampling, expected.objective == "scoreflow"          ? "likelihood"
                                          : expected.name == "cifar10_flow_matching" ? "skewed"
                                                                                     : "uniform");
    EXPECT_EQ(config.coupling.coupling, expected.name == "digits_minibatch_ot" ? "minibatch_ot" : "independent");
  }
}

TEST(Configs, OfThePaperHaveItsOptimizerAndNoDropout) {
  for (const Expected& expected : kConfigs) {
    if (!expected.of_the_paper()) continue;
    SCOPED_TRACE(expected.name);
    const TrainConfig config = read(expected);
    EXPECT_EQ(config.optimizer.optimizer, "adam");
    EXPECT_EQ(config.optimizer.beta1, 0.9);
    EXPECT_EQ(config.optimizer.beta2, 0.999);
    EXPECT_EQ(config.optimizer.adam_eps, 1e-8);
    EXPECT_EQ(config.optimizer.weight_decay, 0);
    EXPECT_EQ(config.schedule.lr_floor, 1e-8);
    EXPECT_EQ(config.model.dropout, 0);
    EXPECT_EQ(config.model.num_classes, 0);
  }
}

TEST(Configs, OfOtherRepositoriesHaveTheirSettings) {
  const TrainConfig torchcfm =
      read(named("cifar10_torchcfm"));  // Adam's defaults, EMA without ramp, t unscaled, sigma 0
  EXPECT_EQ(torchcfm.optimizer.optimizer, "adam");
  EXPECT_EQ(torchcfm.clip_norm, 1);
  EXPECT_EQ(torchcfm.ema.decays, std::vector<double>{0.9999});
  EXPECT_FALSE(torchcfm.ema.warmup);
  EXPECT_EQ(torchcfm.model.dropout, 0.1);
  EXPECT_EQ(torchcfm.model.time_scale, 1);
  EXPECT_EQ(torchcfm.flow_config.path.sigma_min, 0);
  EXPECT_FALSE(torchcfm.model.use_new_attention_order);

  const TrainConfig flow_matching = read(named("cifar10_flow_matching"));
  EXPECT_EQ(flow_matching.optimizer.optimizer, "adamw");
  EXPECT_EQ(flow_matching.optimizer.beta1, 0.9);
  EXPECT_EQ(flow_matching.optimizer.beta2, 0.95);
  EXPECT_EQ(flow_matching.optimizer.weight_decay, 0.01);
  EXPECT_EQ(flow_matching.clip_norm, 0);
  EXPECT_EQ(flow_matching.ema.decays, std::vector<double>{0.999});
  EXPECT_TRUE(flow_matching.ema.warmup);
  EXPECT_EQ(flow_matching.model.dropout, 0.3);
  EXPECT_EQ(flow_matching.model.time_scale, 1);
  EXPECT_EQ(flow_matching.flow_config.path.sigma_min, 0);
  EXPECT_TRUE(flow_matching.model.use_new_attention_order);
}

}  // namespace
}  // namespace cfm::trainer
