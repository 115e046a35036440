// Which tensors of a file are the U-Net that is asked for, and which files do not say.

#include "keeper/state_dict.h"

#include <ATen/ops/full.h>
#include <ATen/ops/item.h>
#include <gtest/gtest.h>

#include "support/error_text.h"
#include "support/scratch_directory.h"

namespace cfm::keeper {
namespace {

using Names = std::vector<std::string>;
using test::error_text;
using test::has;

class StateDicts : public testing::Test {
 protected:
  // Each tensor holds its place in the list.
  void write(const Names& names) const {
    checkpoint::NamedTensors tensors;
    for (const std::string& name : names)
      tensors.emplace_back(name, at::full({1}, static_cast<double>(tensors.size())));
    checkpoint::write_safetensors(file_, tensors, {});
  }
  // "name=place" of what is read.
  Names read(const std::string& part = "") const {
    Names found;
    for (const auto& [name, tensor] : read_state_dict(file_, part).tensors)
      found.push_back(name + "=" + std::to_string(tensor.item<int64_t>()));
    return found;
  }
  std::string refusal(const std::string& part = "") const {
    const std::string text = error_text([&] { read(part); });
    EXPECT_TRUE(has(text, {file_.c_str()}));
    return text;
  }

  tests::ScratchDirectory scratch_;
  std::filesystem::path file_ = scratch_ / "state.safetensors";
};

TEST_F(StateDicts, AreReadWithoutTheirPrefixWhateverItIs) {
  for (const std::string prefix : {"", "module.", "model.", "ema_model.module."}) {
    write({prefix + "time_embed.0.weight", prefix + "out.2.bias"});
    EXPECT_EQ(read(), (Names{"time_embed.0.weight=0", "out.2.bias=1"})) << prefix;
  }
}

TEST_F(StateDicts, OfSeveralPartsGiveTheOneThatIsNamed) {
  write({"ema_model.time_embed.0.weight", "ema_model.out.2.bias", "net_model.module.time_embed.0.weight",
         "net_model.module.out.2.bias"});
  EXPECT_TRUE(has(refusal(), {"several U-Nets", "--part", "ema_model, net_model"}));
  EXPECT_EQ(read("net_model"), (Names{"time_embed.0.weight=2", "out.2.bias=3"}));
  EXPECT_TRUE(has(refusal("ema"), {"--part=ema:", "ema_model, net_model"}));
}

TEST_F(StateDicts, TheOneWithoutAPrefixIsNamedByADotWhereOthersHaveOne) {
  for (const std::string none : {"", "module."}) {
    write({none + "time_embed.0.weight", none + "out.2.bias", "ema.time_embed.0.weight", "ema.out.2.bias"});
    EXPECT_TRUE(has(refusal(), {"several U-Nets", "., ema"}) || has(refusal(), {"several U-Nets", "ema, ."}));
    EXPECT_EQ(read("."), (Names{"time_embed.0.weight=0", "out.2.bias=1"}));
    EXPECT_EQ(read("ema"), (Names{"time_embed.0.weight=2", "out.2.bias=3"}));
  }
}

TEST_F(StateDicts, OfTwoUNetsThatHaveOneNameAreRefusedNamingBothPrefixes) {
  write({"time_embed.0.weight", "out.2.bias", "module.time_embed.0.weight", "module.out.2.bias"});
  for (const std::string part : {"", ".", "module"})
    EXPECT_TRUE(has(refusal(part), {"two U-Nets that --part cannot tell apart", "have no prefix", "'module.'"}));
  write({"ema.time_embed.0.weight", "ema.module.time_embed.0.weight"});
  EXPECT_TRUE(has(refusal("ema"), {"cannot tell apart", "'ema.'", "'ema.module.'"}));
}

TEST_F(StateDicts, ATensorThatIsThereTwiceIsRefusedByBothItsNames) {
  write({"module.time_embed.0.weight", "module.out.2.bias", "out.2.bias"});
  EXPECT_TRUE(has(refusal(), {"'out.2.bias' twice", "'module.out.2.bias'", "remove the one"}));
}

TEST_F(StateDicts, KeepTensorsOfNothingKnownSoThatTheyAreRefusedLater) {
  write({"module.time_embed.0.weight", "module.out.2.bias", "module.stray", "optimizer.lr"});
  EXPECT_EQ(read(), (Names{"time_embed.0.weight=0", "out.2.bias=1", "stray=2", "optimizer.lr=3"}));
}

TEST_F(StateDicts, OfNoUNetSaysWhatItHolds) {
  write({"conv1.weight", "conv1.bias"});
  EXPECT_TRUE(has(refusal(), {"holds no U-Net", "'conv1.weight'", "time_embed.0.weight"}));
}

}  // namespace
}  // namespace cfm::keeper
