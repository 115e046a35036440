#include "base/live_line.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>

#include "support/scratch_directory.h"
#include "support/subprocess.h"

namespace cfm {
namespace {

// What a run of this program under `launcher` says, its standard output going where `to` sends it.
std::string said(const std::string& launcher, const std::string& to) {
  const test::CommandResult result = test::run_command("CFM_SAY_WHO_WATCHES=1 " + launcher + " " CFM_SELF + to);
  EXPECT_EQ(result.exit_code, 0) << result.output;
  return result.output;
}

constexpr const char* kMpirun = "mpirun --allow-run-as-root --oversubscribe -n 1";

TEST(PersonWatches, NotWhatGoesToAFileOrAPipe) {
  EXPECT_EQ(said("", " | cat"), "nobody\n");
  EXPECT_EQ(said(kMpirun, " | cat"), "nobody\n");
  const tests::ScratchDirectory scratch;
  const std::string log = (scratch.path() / "log").string();
  EXPECT_EQ(said(kMpirun, " >" + log + "; cat " + log), "nobody\n");
}

#ifdef CFM_UNSHARE
// As in a container whose command is mpirun.
TEST(PersonWatches, NotAFileWhereMpirunIsTheFirstProcessOfItsMachine) {
  const tests::ScratchDirectory scratch;
  const std::string log = (scratch.path() / "log").string();
  EXPECT_EQ(said(std::string(CFM_UNSHARE " ") + kMpirun, " >" + log + "; cat " + log), "nobody\n");
}
#endif

TEST(PersonWatches, ATerminalAlsoBehindMpirun) {
  EXPECT_EQ(said("script -qec \"", "\" /dev/null"), "a person\r\n");
  EXPECT_EQ(said(std::string("script -qec \"") + kMpirun, "\" /dev/null"), "a person\r\n");
}

}  // namespace
}  // namespace cfm

int main(int argc, char** argv) {
  if (std::getenv("CFM_SAY_WHO_WATCHES") != nullptr) {
    std::puts(cfm::person_watches() ? "a person" : "nobody");
    return 0;
  }
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
