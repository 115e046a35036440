#include "base/command_line.h"

#include <gflags/gflags.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "support/scratch_directory.h"

DEFINE_double(lr, 0.5, "optimizer: learning rate");
DEFINE_int64(global_batch, 128, "data: images a step, over all ranks");
DEFINE_string(run_dir, "", "run: where checkpoints and events go");
DEFINE_bool(flip, true, "data: mirror half of the images");
DEFINE_int32(note, 7, "a description without a group");

namespace cfm {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

const ProgramHelp kProgram{"cfm_try", "tries flags", "cfm_try --lr=1", __FILE__, {"run", "optimizer", "data"}};

// Every test starts from the defaults.
class CommandLine : public ::testing::Test {
 protected:
  ~CommandLine() override {
    for (const char* name : {"lr", "global_batch", "run_dir", "flip", "note"}) {
      gflags::SetCommandLineOption(name, gflags::GetCommandLineFlagInfoOrDie(name).default_value.c_str());
    }
  }

  // What the refusal says; "(accepted)" if there was none.
  static std::string refusal(const std::vector<std::string>& arguments) {
    try {
      parse_command_line(kProgram, arguments);
    } catch (const SharedError& error) {
      EXPECT_EQ(error.exit_code(), ExitCode::kWontWork);
      return error.what();
    }
    return "(accepted)";
  }

  std::string refusal_of_file(const std::string& text) {
    const std::string file = scratch_.write("bad.flags", text).string();
    const std::string said = refusal({"--flagfile=" + file});
    const size_t at = said.find(file);
    return at == std::string::npos ? said : said.substr(0, at) + "bad.flags" + said.substr(at + file.size());
  }

  tests::ScratchDirectory scratch_;
};

TEST_F(CommandLine, SetsFlagsOfEveryType) {
  EXPECT_FALSE(
      parse_command_line(kProgram, {"--lr=1e-3", "--global_batch=3000000000", "--run_dir=a b=c#d", "--flip=false"}));
  EXPECT_EQ(FLAGS_lr, 1e-3);
  EXPECT_EQ(FLAGS_global_batch, 3000000000);
  EXPECT_EQ(FLAGS_run_dir, "a b=c#d");
  EXPECT_FALSE(FLAGS_flip);
  EXPECT_EQ(FLAGS_note, 7);
}

TEST_F(CommandLine, ABoolFlagMayStandAloneOrBehindNo) {
  parse_command_line(kProgram, {"--noflip"});
  EXPECT_FALSE(FLAGS_flip);
  parse_command_line(kProgram, {"--flip"});
  EXPECT_TRUE(FLAGS_flip);
}

TEST_F(CommandLine, AFlagfileHasCommentsBlankLinesAndWindowsLineEnds) {
  const auto file =
      scratch_.write("a.flags", "# head\r\n\r\n  --lr=2   # rate\r\n\t--run_dir=x#y\r\n--noflip\r\n--global_batch=5");
  parse_command_line(kProgram, {"--flagfile=" + file.string()});
  EXPECT_EQ(FLAGS_lr, 2);
  EXPECT_EQ(FLAGS_run_dir, "x#y");
  EXPECT_FALSE(FLAGS_flip);
  EXPECT_EQ(FLAGS_global_batch, 5);
}

TEST_F(CommandLine, AFlagfileMayBeginWithAByteOrderMarkButIsText) {
  parse_command_line(kProgram, {"--flagfile=" + scratch_.write("a.flags", "\xef\xbb\xbf--lr=2\n").string()});
  EXPECT_EQ(FLAGS_lr, 2);
  EXPECT_THAT(refusal_of_file(std::string("\x89HDF\0\0--lr=1", 12)), HasSubstr("bad.flags is no text file"));
}

TEST_F(CommandLine, TheCommandLineWinsOverFilesAndAFileOverThoseItNestsWhereverTheyAreNamed) {
  scratch_.write("parts/inner.flags", "--lr=3\n--global_batch=3\n--note=3\n");
  scratch_.write("parts/middle.flags", "--global_batch=2\n--flagfile=inner.flags\n--note=2\n");
  const auto outer = scratch_.write("outer.flags", "--note=1\n--flagfile=parts/middle.flags\n");
  parse_command_line(kProgram, {"--note=0", "--flagfile=" + outer.string()});
  EXPECT_EQ(FLAGS_lr, 3);
  EXPECT_EQ(FLAGS_global_batch, 2);
  EXPECT_EQ(FLAGS_note, 0);
  parse_command_line(kProgram, {"--flagfile=" + outer.string()});
  EXPECT_EQ(FLAGS_note, 1);
}

TEST_F(CommandLine, OfTwoFilesThatOnePlaceNamesTheLaterWins) {
  const auto first = scratch_.write("first.flags", "--lr=1\n--note=1\n"),
             second = scratch_.write("second.flags", "--lr=2\n");
  parse_command_line(kProgram, {"--flagfile=" + first.string(), "--flagfile=" + second.string()});
  EXPECT_EQ(FLAGS_lr, 2);
  EXPECT_EQ(FLAGS_note, 1);
}

TEST_F(CommandLine, RefusesAnUnknownNameAndProposesTheNearest) {
  EXPECT_THAT(refusal({"--globalbatch=4"}), AllOf(HasSubstr("command line: cfm_try has no flag --globalbatch"),
                                                  HasSubstr("Did you mean --global_batch?")));
  EXPECT_THAT(refusal({"--run-dir=x"}), HasSubstr("Did you mean --run_dir?"));
  EXPECT_THAT(refusal({"--completely_else=1"}),
              AllOf(HasSubstr("no flag --completely_else"), Not(HasSubstr("Did you mean"))));
  EXPECT_THAT(refusal_of_file("--lr=1\n\n--flop\n"),
              AllOf(HasSubstr("bad.flags:3: "), HasSubstr("Did you mean --flip?")));
}

TEST_F(CommandLine, TheFlagsThatGflagsBringsAreUnknown) {
  for (const std::string flag : {"--helpfull", "--undefok=x", "--fromenv=lr", "--version", "--tab_completion_word=x"}) {
    EXPECT_THAT(refusal({flag}), HasSubstr("has no flag")) << flag;
  }
}

TEST_F(CommandLine, RefusesAMalformedValue) {
  EXPECT_THAT(refusal({"--global_batch=many"}),
              AllOf(HasSubstr("command line: --global_batch=many"), HasSubstr("int64"), HasSubstr("default: 128")));
  EXPECT_THAT(refusal({"--global_batch=3.5"}), HasSubstr("--global_batch=3.5"));
  EXPECT_THAT(refusal({"--global_batch="}), HasSubstr("--global_batch="));
  EXPECT_THAT(refusal({"--note=3000000000"}), HasSubstr("int32"));
  EXPECT_THAT(refusal({"--flip=maybe"}), HasSubstr("bool"));
  EXPECT_THAT(refusal_of_file("# x\n--lr=3e\n"), HasSubstr("bad.flags:2: --lr=3e"));
}

TEST_F(CommandLine, AMalformedValueIsRefusedEvenWhereAnotherWins) {
  const auto file = scratch_.write("a.flags", "--lr=fast\n");
  EXPECT_THAT(refusal({"--flagfile=" + file.string(), "--lr=1"}), HasSubstr("a.flags:1: --lr=fast"));
}

TEST_F(CommandLine, RefusesBlanksAroundTheEqualsSignAndShowsTheRightSpelling) {
  const std::vector<std::vector<std::string>> spellings{
      {"--lr", "=", "3"}, {"--lr", "=3"}, {"--lr=", "3"}, {"--lr", "3"}, {"--lr = 3"}, {"--lr= 3"}, {"--lr =3"}};
  for (const auto& words : spellings) {
    const std::string said = refusal(words);
    EXPECT_THAT(said, AllOf(HasSubstr("command line: '--lr"), HasSubstr("Write --lr=3."), Not(HasSubstr("problems"))));
  }
  for (const std::string line : {"--lr = 3", "--lr= 3", "--lr =3", "--lr 3"}) {
    EXPECT_THAT(refusal_of_file(line), AllOf(HasSubstr("bad.flags:1: '" + line), HasSubstr("Write --lr=3."))) << line;
  }
  EXPECT_THAT(refusal({"--flip", "false"}), HasSubstr("Write --flip=false"));
  EXPECT_EQ(FLAGS_lr, 0.5);
}

TEST_F(CommandLine, RefusesMissingDashes) {
  EXPECT_THAT(refusal_of_file("lr=3"), AllOf(HasSubstr("bad.flags:1: 'lr=3'"), HasSubstr("Write --lr=3.")));
  EXPECT_THAT(refusal_of_file("lr = 3"), HasSubstr("Write --lr=3."));
  EXPECT_THAT(refusal({"-lr=3"}), HasSubstr("Write --lr=3."));
  EXPECT_THAT(refusal({"noise"}), HasSubstr("left-over argument 'noise'"));
}

TEST_F(CommandLine, RefusesAFlagWithoutItsValue) {
  EXPECT_THAT(refusal({"--lr"}), HasSubstr("--lr has no value. Write --lr=VALUE"));
  EXPECT_THAT(refusal({"--lr", "--flip"}), HasSubstr("--lr has no value"));
  EXPECT_THAT(refusal({"--nolr"}), HasSubstr("no flag --nolr"));
}

TEST_F(CommandLine, RefusesAFlagSetTwiceInOnePlaceButNotInTwo) {
  EXPECT_THAT(refusal({"--lr=1", "--lr=1"}), HasSubstr("command line: --lr is set twice"));
  EXPECT_THAT(refusal({"--flip", "--noflip"}), HasSubstr("--flip is set twice"));
  EXPECT_THAT(refusal_of_file("--lr=1\n--note=1\n--lr=2\n"),
              AllOf(HasSubstr("bad.flags:3: --lr is set twice"), HasSubstr(":1.")));
  const auto file = scratch_.write("a.flags", "--lr=1\n");
  EXPECT_EQ(refusal({"--lr=2", "--flagfile=" + file.string()}), "(accepted)");
}

TEST_F(CommandLine, RefusesLeftOverArguments) {
  EXPECT_THAT(refusal({"train"}), HasSubstr("command line: left-over argument 'train'"));
  EXPECT_THAT(refusal({"--lr=1", "--", "x"}), AllOf(HasSubstr("'--'"), HasSubstr("'x'")));
  EXPECT_THAT(refusal({""}), HasSubstr("left-over argument ''"));
  EXPECT_THAT(refusal_of_file("--lr=1\nsteps\n"), HasSubstr("bad.flags:2: left-over argument 'steps'"));
}

TEST_F(CommandLine, RefusesAMissingFlagfileAndOneThatIsADirectory) {
  EXPECT_THAT(refusal({"--flagfile=/nowhere/x.flags"}),
              AllOf(HasSubstr("command line: "), HasSubstr("/nowhere/x.flags")));
  EXPECT_THAT(refusal({"--flagfile="}), HasSubstr("there is no file"));
  EXPECT_THAT(refusal({"--flagfile=" + scratch_.path().string()}), HasSubstr("there is no file"));
  EXPECT_THAT(refusal_of_file("--lr=1\n--flagfile=gone.flags\n"),
              AllOf(HasSubstr("bad.flags:2: "), HasSubstr("gone.flags")));
}

TEST_F(CommandLine, RefusesAFlagfileThatNestsItselfButNotOneNamedTwice) {
  scratch_.write("a.flags", "--flagfile=sub/b.flags\n");
  scratch_.write("sub/b.flags", "# back\n--flagfile=../a.flags\n");
  EXPECT_THAT(refusal({"--flagfile=" + (scratch_.path() / "a.flags").string()}),
              AllOf(HasSubstr("b.flags:2: "), HasSubstr("nests itself")));
  scratch_.write("leaf.flags", "--lr=9\n");
  scratch_.write("left.flags", "--flagfile=leaf.flags\n");
  const auto top = scratch_.write("top.flags", "--flagfile=left.flags\n--flagfile=leaf.flags\n");
  EXPECT_EQ(refusal({"--flagfile=" + top.string()}), "(accepted)");
  EXPECT_EQ(FLAGS_lr, 9);
}

TEST_F(CommandLine, ListsEveryProblemAtOnce) {
  const std::string said = refusal({"--lr=x", "--nothing=1", "rest"});
  EXPECT_THAT(said, AllOf(HasSubstr("3 problems"), HasSubstr("--lr=x"), HasSubstr("--nothing"), HasSubstr("'rest'")));
}

TEST_F(CommandLine, HelpIsAskedForOnTheCommandLineOnly) {
  EXPECT_TRUE(parse_command_line(kProgram, {"--lr=x", "--help"}));
  EXPECT_EQ(FLAGS_lr, 0.5);
  EXPECT_THAT(refusal_of_file("--help\n"), HasSubstr("bad.flags:1: cfm_try has no flag --help"));
}

TEST_F(CommandLine, HelpShowsGroupsInTheirOrderWithDefaultsAndTheExample) {
  parse_command_line(kProgram, {"--lr=7"});
  EXPECT_EQ(help_text(kProgram),
            "cfm_try: tries flags\n\n"
            "usage: cfm_try [--flagfile=FILE] [--name=value ...]\n"
            "  A flagfile has one --name=value a line, # comments, and may name others; the command line wins.\n\n"
            "run\n"
            "  --run_dir=                      where checkpoints and events go\n\n"
            "optimizer\n"
            "  --lr=0.5                        learning rate\n\n"
            "data\n"
            "  --flip=true                     mirror half of the images\n"
            "  --global_batch=128              images a step, over all ranks\n\n"
            "other\n"
            "  --note=7                        a description without a group\n\n"
            "example: cfm_try --lr=1\n");
}

TEST_F(CommandLine, TheTableOfSettingsIsAlignedAndMarksWhatDiffersFromTheDefault) {
  parse_command_line(kProgram, {"--lr=0.001", "--global_batch=128"});
  EXPECT_EQ(settings_table(kProgram),
            "run\n"
            "    run_dir       (empty)\n\n"
            "optimizer\n"
            "  * lr            0.001\n\n"
            "data\n"
            "    flip          true\n"
            "    global_batch  128\n\n"
            "other\n"
            "    note          7\n\n"
            "  * differs from the default\n");
}

}  // namespace
}  // namespace cfm
