#include "base/file_lock.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/error_text.h"
#include "support/scratch_directory.h"

namespace cfm {
namespace {

using Kind = FileLock::Kind;

constexpr const char* kTaken = "another job is at work there";

// Two descriptors of one process exclude each other like those of two.
std::string refusal(const std::filesystem::path& file, Kind kind) {
  return test::error_text([&] { FileLock lock(file, kind, kTaken); }, ExitCode::kRetry);
}

TEST(FileLock, ExcludesOthersUntilItIsShared) {
  const tests::ScratchDirectory folder;
  const std::filesystem::path file = folder / "a.lock";
  FileLock first(file, Kind::kExclusive, kTaken);
  EXPECT_TRUE(test::has(refusal(file, Kind::kExclusive), {"another job is at work there", "a.lock"}));
  refusal(file, Kind::kShared);
  first.share();
  FileLock second(file, Kind::kShared, kTaken);
  refusal(file, Kind::kExclusive);
}

TEST(FileLock, IsFreeAgainWhenItsHolderIsKilled) {
  const tests::ScratchDirectory folder;
  const std::filesystem::path file = folder / "a.lock";
  const pid_t child = ::fork();
  if (child == 0) {
    const FileLock lock(file, Kind::kExclusive, kTaken);
    std::filesystem::create_directory(folder / "held");
    while (true) ::pause();
  }
  while (!std::filesystem::exists(folder / "held")) ::usleep(1000);
  refusal(file, Kind::kShared);
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  FileLock lock(file, Kind::kExclusive, kTaken);
}

TEST(FileLock, NeedsItsFolder) {
  const tests::ScratchDirectory folder;
  EXPECT_TRUE(
      test::has(refusal(folder / "none/a.lock", Kind::kShared), {"none/a.lock", "No such file", "the same folder"}));
}

}  // namespace
}  // namespace cfm
