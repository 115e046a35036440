#include "base/command_text.h"

#include <gflags/gflags.h>
#include <gtest/gtest.h>

#include <fstream>

#include "support/scratch_directory.h"

DEFINE_double(atol, 1e-5, "solver: of an adaptive one");
DEFINE_int32(steps, 50, "solver: of a grid");
DEFINE_string(data, "", "images: where they are");
DEFINE_bool(flip, true, "images: mirrored");

namespace cfm {
namespace {

const ProgramHelp kProgram{"cfm_try", "tries", "cfm_try", __FILE__, {"images", "solver"}};

TEST(CommandText, HasWhatWasGivenInFlagfilesTooAndNothingElse) {
  EXPECT_EQ(command_text(kProgram), "cfm_try");
  const tests::ScratchDirectory scratch;
  const auto file = scratch.write("try.flags", "--atol=1e-3  # loose\n--noflip\n");
  parse_command_line(kProgram, {"--flagfile=" + file.string(), "--data=a folder/it's"});
  EXPECT_EQ(command_text(kProgram), R"(cfm_try --data='a folder/it'\''s' --flip=false --atol=0.001)");
}

}  // namespace
}  // namespace cfm
