#include "packer/file_lock.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/error_text.h"
#include "support/scratch_directory.h"

namespace cfm {
namespace {

using packer::FileLock;
using Kind = packer::FileLock::Kind;

// Two descriptors of one process exclude each other like those of two.
std::string refusal(const std::filesystem::path& file, Kind kind) {
  return test::error_text([&] { FileLock lock(file, kind); }, ExitCode::kRetry);
}

TEST(FileLock, ExcludesOthersUntilItIsShared) {
  const tests::ScratchDirectory folder;
  const std::filesystem::path file = folder / "a.lock";
  FileLock first(file, Kind::kExclusive);
  EXPECT_TRUE(test::has(refusal(file, Kind::kExclusive), {"another cfm_pack is at work in", "a.lock"}));
  refusal(file, Kind::kShared);
  first.share();
  FileLock second(file, Kind::kShared);
  refusal(file, Kind::kExclusive);
}

TEST(FileLock, IsFreeAgainWhenItsHolderIsKilled) {
  const tests::ScratchDirectory folder;
  const std::filesystem::path file = folder / "a.lock";
  const pid_t child = ::fork();
  if (child == 0) {
    const FileLock lock(file, Kind::kExclusive);
    std::filesystem::create_directory(folder / "held");
    while (true) ::pause();
  }
  while (!std::filesystem::exists(folder / "held")) ::usleep(1000);
  refusal(file, Kind::kShared);
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  FileLock lock(file, Kind::kExclusive);
}

TEST(FileLock, NeedsItsFolder) {
  const tests::ScratchDirectory folder;
  EXPECT_TRUE(test::has(refusal(folder / "none/a.lock", Kind::kShared), {"none/a.lock", "No such file", "--out"}));
}

}  // namespace
}  // namespace cfm
