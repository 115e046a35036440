// cfm_checkpoint import: what it says that nobody told it, and what it refuses. What the imported network gives has its
// test against PyTorch (import_python_test).

#include <gtest/gtest.h>

#include "support/checkpoint_program.h"
#include "support/error_text.h"
#include "support/scratch_directory.h"
#include "support/tiny_weights.h"

namespace cfm::keeper {
namespace {

using test::CommandResult;
using test::has;

class ImportedWeights : public testing::Test {
 protected:
  static checkpoint::NamedTensors tensors(const std::string& prefix = "") {
    const models::UNet net(test::tiny_unet(0), 3);
    checkpoint::NamedTensors named;
    for (const auto& [name, tensor] : models::named_parameters(net)) named.emplace_back(prefix + name, tensor.detach());
    return named;
  }
  CommandResult imported(const checkpoint::NamedTensors& state, const std::string& more = "") const {
    checkpoint::write_safetensors(scratch_ / "state.safetensors", state, {});
    std::filesystem::remove(out_);
    return test::cfm_checkpoint(
        "import --image_size=8 --model_channels=32 --num_res_blocks=1 --channel_mult=1,2 --attention_resolutions=4 "
        "--from=" +
        (scratch_ / "state.safetensors").string() + " --out=" + out_.string() + " " + more);
  }
  // The line that says what was assumed; empty if there is none.
  static std::string assumed(const CommandResult& result) {
    EXPECT_EQ(result.exit_code, 0) << result.output;
    const size_t at = result.output.find("assumed ");
    return at == std::string::npos ? "" : result.output.substr(at, result.output.find('\n', at) - at);
  }

  tests::ScratchDirectory scratch_;
  std::filesystem::path out_ = scratch_ / "out.safetensors";
};

TEST_F(ImportedWeights, SayWhatNobodyGaveAndTensorsDoNotTell) {
  const std::string line = assumed(imported(tensors()));
  EXPECT_TRUE(has(
      line, {"--time_scale=1000", "--use_new_attention_order=true", "--num_heads=4", "--sigma_min=1e-05", "--path=ot",
             "--objective=fm", "--time_reversed=false", "--time_shift=0", "not given", "tensors do not tell"}));
  EXPECT_EQ(line.find("vp_b0"), std::string::npos) << "of a path that is not taken: " << line;
  EXPECT_EQ(line.find("model_channels"), std::string::npos) << "given, and told by tensors: " << line;
}

TEST_F(ImportedWeights, SayNothingOfWhatWasGivenThoughItBeTheDefault) {
  const std::string all =
      "--time_scale=1000 --time_reversed=false --time_shift=0 --use_new_attention_order=true --num_heads=4 "
      "--objective=fm --path=ot --sigma_min=1e-5";
  EXPECT_EQ(assumed(imported(tensors(), all)), "");
  const std::string some = assumed(imported(tensors(), "--time_scale=1 --num_head_channels=16 --path=vp"));
  EXPECT_TRUE(has(some, {"--use_new_attention_order=true", "--vp_b0=0.1", "--vp_b1=20"}));
  for (const char* told : {"time_scale", "num_heads", "path", "sigma_min"})
    EXPECT_EQ(some.find(std::string("--") + told), std::string::npos) << told << " in " << some;
}

TEST_F(ImportedWeights, AreRefusedWhereNamesWithAndWithoutAPrefixAreMixed) {
  checkpoint::NamedTensors both = tensors();
  for (const auto& entry : tensors("module.")) both.push_back(entry);
  const CommandResult two = imported(both);
  EXPECT_EQ(two.exit_code, 2) << two.output;
  EXPECT_TRUE(has(two.output, {"two U-Nets that --part cannot tell apart", "'module.'"}));
  checkpoint::NamedTensors doubled = tensors("module.");
  doubled.emplace_back("out.2.bias", doubled.back().second);
  const CommandResult twice = imported(doubled);
  EXPECT_EQ(twice.exit_code, 2) << twice.output;
  EXPECT_TRUE(has(twice.output, {"'out.2.bias' twice"}));
}

TEST_F(ImportedWeights, AreRefusedWithATensorThatIsNotOfTheNetworkNamingIt) {
  checkpoint::NamedTensors more = tensors("module.");
  more.emplace_back("module.step_count", more.back().second);
  more.emplace_back("optimizer.lr", more.back().second);
  const CommandResult result = imported(more);
  EXPECT_EQ(result.exit_code, 2) << result.output;
  EXPECT_TRUE(has(result.output, {"2 tensors", "'step_count'", "'optimizer.lr'", "is not expected"}));
  EXPECT_FALSE(std::filesystem::exists(out_));
}

}  // namespace
}  // namespace cfm::keeper
