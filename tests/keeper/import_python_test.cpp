// cfm_checkpoint import, from files that PyTorch wrote: the network of the weights file gives what PyTorch's gave.

#include <ATen/core/grad_mode.h>
#include <ATen/ops/abs.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/item.h>
#include <ATen/ops/max.h>
#include <gtest/gtest.h>

#include <limits>
#include <map>
#include <stdexcept>

#include "checkpoint/weights.h"
#include "support/checkpoint_program.h"
#include "support/error_text.h"
#include "support/file_bytes.h"
#include "support/training_run.h"

namespace cfm::keeper {
namespace {

namespace fs = std::filesystem;
using test::CommandResult;
using test::has;

class Import : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new test::TemporaryFolder;
    const CommandResult made =
        test::run_command(std::string(CFM_PYTHON) + " " CFM_SOURCE_DIR "/tests/keeper/state_dicts.py " +
                              folder_->path().string() + " " CFM_SOURCE_DIR "/scripts/convert_state_dict.py",
                          300);
    if (made.exit_code != 0) throw std::runtime_error(made.output);
  }
  static void TearDownTestSuite() { delete folder_; }

  static std::string path(const std::string& name) { return (folder_->path() / name).string(); }
  struct Conversion {
    int exit_code = -1;
    std::string output;
  };
  // How the script's run that was to make `out` ended.
  static Conversion conversion(const std::string& out) {
    const std::string log = test::bytes_of(path(out + ".log"));
    const size_t line = log.find('\n');
    return {std::stoi(log.substr(0, line)), log.substr(line + 1)};
  }
  // By the flags of `name`.
  static CommandResult imported_by(const std::string& name, const std::string& from, const std::string& out,
                                   const std::string& more = "") {
    fs::remove(path(out));
    return test::cfm_checkpoint("import --flagfile=" + path(name + ".flags") + " --from=" + path(from) +
                                " --out=" + path(out) + " " + more);
  }
  // What the script made, imported by the flags of `name` as `name`.safetensors.
  static checkpoint::Weights imported(const std::string& name, const std::string& state) {
    EXPECT_EQ(conversion(state).exit_code, 0) << conversion(state).output;
    const CommandResult result = imported_by(name, state, name + ".safetensors");
    EXPECT_EQ(result.exit_code, 0) << result.output;
    return checkpoint::load_weights_file(path(name + ".safetensors"));
  }
  static void expect_gives(const checkpoint::Weights& weights, const std::string& io) {
    std::map<std::string, at::Tensor> tensors;
    for (const auto& [name, tensor] : checkpoint::read_safetensors(path(io + ".io.safetensors")).tensors)
      tensors[name] = tensor;
    const at::NoGradGuard no_grad;
    const at::Tensor found = weights.net->forward(tensors.at("x"), tensors.at("t"), tensors["labels"]);
    const at::Tensor expected = tensors.at("y");
    ASSERT_EQ(found.sizes(), expected.sizes());
    const double largest = expected.abs().max().item<double>();
    EXPECT_GT(largest, 0.1);
    EXPECT_LT((found - expected).abs().max().item<double>(), 1e-5 * largest) << io;
  }

  static inline test::TemporaryFolder* folder_;
};

TEST_F(Import, GivesTheOutputsOfAGuidedDiffusionNetwork) {
  const checkpoint::Weights weights = imported("guided_diffusion", "guided_diffusion.state.safetensors");
  expect_gives(weights, "guided_diffusion");
  EXPECT_EQ(weights.info.model.time_scale, 1000);
  EXPECT_EQ(weights.info.model.num_classes, 4);
  EXPECT_FALSE(weights.info.model.null_class);
}

TEST_F(Import, TurnsTheTimeOfADiffusionAndLeavesItsVarianceOut) {
  const checkpoint::Weights weights = imported("guided_diffusion_ddpm", "guided_diffusion_ddpm.state.safetensors");
  expect_gives(weights, "guided_diffusion_ddpm");
  EXPECT_EQ(weights.info.objective, "ddpm");
  EXPECT_EQ(weights.info.path, "vp");
  EXPECT_EQ(weights.info.step, 540000);
  EXPECT_EQ(checkpoint::weights_name(weights.info), "ema_0.9999");
  EXPECT_FALSE(weights.info.model.use_new_attention_order);
  EXPECT_LT(weights.info.t_end, 1);
}

TEST_F(Import, GivesTheOutputsOfAFlowMatchingNetworkRawOrAveraged) {
  expect_gives(imported("flow_matching", "flow_matching.raw.safetensors"), "flow_matching.other");
  expect_gives(imported("flow_matching", "flow_matching.state.safetensors"),
               "flow_matching");  // the average, by its place
  const checkpoint::Metadata metadata = checkpoint::read_safetensors_metadata(path("flow_matching.safetensors"));
  EXPECT_EQ(metadata.at("path.sigma_min"), "0");
  EXPECT_EQ(metadata.at("time_scale"), "1");
  EXPECT_EQ(metadata.at("null_label"), "3");
  EXPECT_EQ(metadata.at("trained_pixel_map"), "y = x/127.5 - 1");
  EXPECT_EQ(metadata.at("imported_from"), "flow_matching.state.safetensors");
  EXPECT_EQ(metadata.at("imported_xxh3_128"), checkpoint::file_hash(path("flow_matching.state.safetensors")));
}

TEST_F(Import, GivesTheOutputsOfATorchcfmNetworkAverageFirst) {
  EXPECT_TRUE(
      has(conversion("torchcfm.state.safetensors").output, {"part 'ema_model' (of", "'net_model'", "torchcfm.pt"}));
  expect_gives(imported("torchcfm", "torchcfm.state.safetensors"), "torchcfm");
  expect_gives(imported("torchcfm", "torchcfm.raw.safetensors"), "torchcfm.other");
}

TEST_F(Import, TakesAPartOfSafetensorsThatHoldSeveral) {
  const CommandResult unsaid = imported_by("wrapped", "wrapped.safetensors", "w.safetensors");
  EXPECT_EQ(unsaid.exit_code, 2);
  EXPECT_TRUE(has(unsaid.output, {"several U-Nets", "--part", "ema_model, net_model"}));
  const CommandResult wrong = imported_by("wrapped", "wrapped.safetensors", "w.safetensors", "--part=ema");
  EXPECT_EQ(wrong.exit_code, 2);
  EXPECT_TRUE(has(wrong.output, {"--part=ema", "ema_model, net_model"}));
  const CommandResult average = imported_by("wrapped", "wrapped.safetensors", "w.safetensors", "--part=ema_model");
  EXPECT_EQ(average.exit_code, 0) << average.output;
  EXPECT_TRUE(has(average.output, {"ema_model of ema_model, net_model", "legacy attention order", "t is fed as 1 t",
                                   "half a grey level", "written"}));
  expect_gives(checkpoint::load_weights_file(path("w.safetensors")), "torchcfm");
  // Half precision becomes single: the same numbers.
  ASSERT_EQ(imported_by("wrapped", "wrapped.safetensors", "w.safetensors", "--part=net_model").exit_code, 0);
  const checkpoint::Weights halves = checkpoint::load_weights_file(path("w.safetensors"));
  for (const auto& [name, tensor] : checkpoint::read_safetensors(path("wrapped.safetensors")).tensors) {
    if (name != "net_model.module.out.2.weight") continue;
    const at::Tensor found =
        models::named_parameters(*halves.net)[models::named_parameters(*halves.net).size() - 2].second;
    EXPECT_TRUE(at::equal(found, tensor.to(at::kFloat)));
  }
}

TEST_F(Import, IsSomethingToSampleAndToTrainFrom) {
  expect_gives(imported("digits", "digits.state.safetensors"), "digits");
  const test::Finished sampled = test::run({test::program("cfm_sample"), "--weights_file=" + path("digits.safetensors"),
                                            "--count=4", "--steps=2", "--net_batch=4", "--out=" + path("samples.png")},
                                           folder_->path() / "log");
  EXPECT_EQ(sampled.exit_code, 0) << sampled.output;
  const std::string data = test::digit_shards(folder_->path(), "train", 0, 100);
  const std::vector<std::string> train = test::with_flags(
      test::small_run(data, folder_->path() / "run", 0),
      {"--num_head_channels=-1", "--num_heads=2", "--time_scale=1", "--label_drop=0", "--sigma_min=0",
       "--init_from=" + path("digits.safetensors"), "--steps=1", "--lr=1e-30", "--lr_floor=0", "--warmup_steps=0"});
  const test::Finished trained = test::run(train, folder_->path() / "log");
  ASSERT_EQ(trained.exit_code, 0) << trained.output;
  const checkpoint::Weights after = checkpoint::load_run_weights(folder_->path() / "run", 1, "raw");
  expect_gives(after, "digits");
  const test::Finished other =
      test::run(test::with_flags(train, {"--time_scale=1000", "--run_dir=" + path("other")}), folder_->path() / "log");
  EXPECT_EQ(other.exit_code, 2);
  EXPECT_TRUE(has(other.output, {"time_scale was 1 there, is 1000 here"}));
}

TEST_F(Import, NamesEachTensorThatDoesNotFitAndWhatTheTensorsSpeakOf) {
  const auto refused = [](const std::string& more) {
    // The flags of the command line win over those of the file.
    const CommandResult result =
        imported_by("guided_diffusion", "guided_diffusion.state.safetensors", "refused.safetensors", more);
    EXPECT_EQ(result.exit_code, 2) << more;
    EXPECT_FALSE(fs::exists(path("refused.safetensors")));
    return result.output;
  };
  EXPECT_TRUE(has(refused("--num_classes=3"),
                  {"1 tensor:", "'label_emb.weight' is [4,256], expected [3,256]", "--num_classes=4"}));
  EXPECT_TRUE(has(refused("--num_classes=0"), {"'label_emb.weight' [4,256] is not expected", "hint"}));
  EXPECT_TRUE(has(refused("--model_channels=32"),
                  {"'time_embed.0.weight' is [256,64], expected [128,32]", "--model_channels=64"}));
  EXPECT_TRUE(has(refused("--use_scale_shift_norm=false"),
                  {"emb_layers.1.weight' is [128,256], expected [64,256]", "--use_scale_shift_norm=true"}));
  const std::string deeper = refused("--num_res_blocks=2");
  EXPECT_TRUE(has(deeper, {"is missing", "is not expected", "tensors:"}));
  EXPECT_EQ(deeper.find("more\n"), std::string::npos);  // all are named
  EXPECT_TRUE(has(refused("--attention_resolutions="), {"'input_blocks.3.1.qkv.weight' [384,128,1] is not expected"}));
  EXPECT_TRUE(has(refused("--learn_sigma"), {"--learn_sigma", "expected 6 outputs"}));
}

TEST_F(Import, NamesALearntVarianceWhereItIsNotExpected) {
  const CommandResult result = imported_by("guided_diffusion_ddpm", "guided_diffusion_ddpm.state.safetensors",
                                           "refused.safetensors", "--learn_sigma=false");
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_TRUE(has(result.output, {"'out.2.weight' is [6,64,3,3], expected [3,64,3,3]", "--learn_sigma"}));
}

TEST_F(Import, RefusesBadFlagsAndFiles) {
  const auto refused = [](const std::string& from, const std::string& more) {
    const CommandResult result = imported_by("digits", from, "refused.safetensors", more);
    EXPECT_EQ(result.exit_code, 2) << result.output;
    return result.output;
  };
  EXPECT_TRUE(has(refused("nowhere.safetensors", ""), {"nowhere.safetensors", "No such file"}));
  EXPECT_TRUE(has(refused("digits.pt", ""), {"digits.pt", "not a safetensors file"}));
  EXPECT_TRUE(has(refused("digits.io.safetensors", ""), {"no U-Net", "time_embed.0.weight", "'x'"}));
  EXPECT_TRUE(has(refused("digits.state.safetensors", "--objective=ddpm"), {"--objective=ddpm", "--path=ot"}));
  EXPECT_TRUE(has(refused("digits.state.safetensors", "--path=straight"), {"--path=straight", "ot, vp"}));
  EXPECT_TRUE(has(refused("digits.state.safetensors", "--image_size=7"), {"7 cannot be halved"}));
  EXPECT_TRUE(has(refused("digits.state.safetensors", "--ema_decay=1"), {"--ema_decay=1"}));
  EXPECT_TRUE(has(refused("digits.state.safetensors", "--run_dir=x"), {"--run_dir=x does nothing"}));
  EXPECT_TRUE(has(test::cfm_checkpoint("import --from=x --out=y").output, {"--image_size is missing"}));
  test::put_bytes(path("there.safetensors"), "x");
  const CommandResult there =
      test::cfm_checkpoint("import --flagfile=" + path("digits.flags") + " --from=" + path("digits.state.safetensors") +
                           " --out=" + path("there.safetensors"));
  EXPECT_EQ(there.exit_code, 2);
  EXPECT_TRUE(has(there.output, {"there.safetensors is there already"}));
  EXPECT_EQ(test::bytes_of(path("there.safetensors")), "x");
}

TEST_F(Import, RefusesNumbersThatAreNone) {
  checkpoint::SafetensorsFile file = checkpoint::read_safetensors(path("digits.state.safetensors"));
  for (auto& [name, tensor] : file.tensors) {
    if (name == "out.0.bias") tensor[3] = std::numeric_limits<float>::infinity();
    if (name == "out.2.bias") tensor = tensor.to(at::kLong);
  }
  checkpoint::write_safetensors(path("nan.safetensors"), file.tensors, {});
  const CommandResult result = imported_by("digits", "nan.safetensors", "refused.safetensors");
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_TRUE(has(result.output,
                  {"2 tensors:", "'out.0.bias' holds numbers that are not finite", "'out.2.bias' is of integers"}));
}

TEST_F(Import, ScriptRefusesWhatItCannotTake) {
  const auto refused = [](const std::string& out) {
    const Conversion found = conversion(out);
    EXPECT_EQ(found.exit_code, 2) << out;
    EXPECT_FALSE(fs::exists(path(out)));
    EXPECT_EQ(found.output.find("Traceback"), std::string::npos) << found.output;
    return found.output;
  };
  EXPECT_TRUE(has(refused("no_unet.safetensors"), {"no_unet.pt", "no U-Net", "time_embed.0.weight"}));
  EXPECT_TRUE(has(refused("several.safetensors"), {"several.pt", "--part"}));
  EXPECT_TRUE(has(refused("no_part.safetensors"), {"--part=ema", "ema_model", "net_model"}));
  EXPECT_TRUE(has(refused("code.safetensors"), {"code.pt", "without running code"}));
  EXPECT_TRUE(has(refused("torn.safetensors"), {"torn.pt"}));
  EXPECT_TRUE(has(refused("nowhere.safetensors"), {"nowhere.pt", "no such file"}));
}

}  // namespace
}  // namespace cfm::keeper
