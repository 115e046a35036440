#include "keeper/train_flags.h"

#include <gflags/gflags.h>
#include <gtest/gtest.h>

#include "base/command_line.h"
#include "support/error_text.h"
#include "support/scratch_directory.h"

DEFINE_string(train_data, "", "data: where it is");
DEFINE_string(val_data, "unset", "data: where it is");
DEFINE_string(stage_dir, "", "data: where it goes");
DEFINE_double(lr, 1, "optimizer: rate");
DEFINE_bool(ema_warmup, true, "optimizer: or not");

namespace cfm::keeper {
namespace {

const ProgramHelp kProgram{"cfm_try", "tries", "cfm_try", __FILE__, {}};

TEST(TrainFlags, AreReadBackAsTheyWere) {
  checkpoint::Manifest manifest;
  manifest.flags = {{"train_data", "a folder/x#y = 'z'"},
                    {"val_data", ""},
                    {"lr", "5e-05"},
                    {"ema_warmup", "false"},
                    {"run_dir", "runs/old"}};
  const std::string text = train_flags_text(manifest, "digits, step 3\n--lr=7");
  EXPECT_EQ(text.find("--run_dir=runs"), std::string::npos);
  const tests::ScratchDirectory scratch;
  parse_command_line(kProgram, {"--flagfile=" + scratch.write("train.flags", text).string()});
  EXPECT_EQ(gflags::GetCommandLineFlagInfoOrDie("train_data").current_value, "a folder/x#y = 'z'");
  EXPECT_EQ(gflags::GetCommandLineFlagInfoOrDie("val_data").current_value, "");
  EXPECT_EQ(*static_cast<const double*>(gflags::GetCommandLineFlagInfoOrDie("lr").flag_ptr), 5e-05);
  EXPECT_EQ(gflags::GetCommandLineFlagInfoOrDie("ema_warmup").current_value, "false");
}

TEST(TrainFlags, ThatNoFlagfileCanHoldAreSaidInAComment) {
  for (const std::string value : {"data #1", " data", "data ", "a\nb"}) {
    checkpoint::Manifest manifest;
    manifest.flags = {{"stage_dir", value}};
    const std::string text = train_flags_text(manifest, "x");
    EXPECT_TRUE(test::has(text, {"# give on the command line", "--stage_dir="})) << value;
    EXPECT_EQ(text.find("\n--stage_dir"), std::string::npos) << value;
  }
}

}  // namespace
}  // namespace cfm::keeper
