#include "base/failpoint.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <cstdlib>

#include "base/durable_file.h"
#include "base/no_room.h"
#include "support/error_text.h"
#include "support/scratch_directory.h"

namespace cfm {
namespace {

// Each in a process of its own, for the variable is read once: exit code 0 if `work` came to its end.
template <typename Work>
void in_child(const char* fail_at, const Work& work) {
  ::setenv("CFM_FAIL_AT", fail_at, 1);
  work();
  ::_exit(0);
}

TEST(Failpoint, KillsBeforeTheNthOperationOnAPathThatHasThePart) {
  const tests::ScratchDirectory folder;
  const auto work = [&] {
    write_durably(folder / "other", "1");
    write_durably(folder / "one", "1");
    write_durably(folder / "two.one", "2");
  };
  EXPECT_EXIT(in_child("rename:one:2:kill", work), testing::KilledBySignal(SIGKILL), "");
  EXPECT_TRUE(std::filesystem::exists(folder / "one"));
  EXPECT_FALSE(std::filesystem::exists(folder / "two.one"));
  EXPECT_EQ(read_file(folder / "two.one.tmp"), "2");
  EXPECT_EXIT(in_child("rename:one:3:kill", work), testing::ExitedWithCode(0), "");
}

TEST(Failpoint, FailsAsAWriteDoesThatMaySucceedLater) {
  const tests::ScratchDirectory folder;
  const auto work = [&] {
    const std::string text = test::error_text([&] { write_durably(folder / "one", "1"); }, ExitCode::kRetry);
    if (!test::has(text, {"cannot fsync", "one.tmp", "CFM_FAIL_AT"})) ::_exit(1);
  };
  EXPECT_EXIT(in_child("fsync:one:1:fail", work), testing::ExitedWithCode(0), "");
}

TEST(Failpoint, FailsAsAFullDiskDoes) {
  const tests::ScratchDirectory folder;
  const auto work = [&] {
    try {
      write_durably(folder / "one", "1");
    } catch (const NoRoom& error) {
      ::_exit(error.exit_code() == ExitCode::kRetry ? 3 : 4);
    }
  };
  EXPECT_EXIT(in_child("write:one:1:full", work), testing::ExitedWithCode(3), "");
}

TEST(Failpoint, OfATextThatIsNoneIsRefused) {
  const tests::ScratchDirectory folder;
  const auto work = [&] {
    if (!test::has(test::error_text([&] { write_durably(folder / "one", "1"); }), {"CFM_FAIL_AT=rename", "expected"}))
      ::_exit(1);
  };
  EXPECT_EXIT(in_child("rename", work), testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace cfm
