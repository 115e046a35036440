#include "checkpoint/unfinished.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>

#include "support/scratch_directory.h"

namespace cfm::checkpoint {
namespace {

namespace fs = std::filesystem;
using std::chrono::minutes;

// A process that has ended, and been waited for.
pid_t dead_process() {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(0);
  ::waitpid(child, nullptr, 0);
  return child;
}

class Unfinished : public testing::Test {
 protected:
  void SetUp() override {
    ::unsetenv("SLURM_JOB_ID");
    ::unsetenv("SLURM_RESTART_COUNT");
  }

  // A save of `job`, in which something changed last so long ago.
  bool abandoned(const std::string& job, minutes age = minutes(0), const Writer& me = {"12", "0"},
                 const std::string& attempt = "0") const {
    const fs::path folder = unfinished_folder(scratch_.path() / "step_000000100", {job, attempt});
    const fs::path file = folder / "model.safetensors";
    fs::remove_all(folder);
    fs::create_directories(folder);
    scratch_.write(folder.filename() / "manifest.json", "{");
    scratch_.write(folder.filename() / "model.safetensors", "half");
    const auto then = fs::file_time_type::clock::now() - age;
    for (const fs::path& path : {folder / "manifest.json", folder}) fs::last_write_time(path, then - minutes(200));
    fs::last_write_time(file, then);
    return is_abandoned(folder, me, "node-7");
  }

  tests::ScratchDirectory scratch_;
};

TEST_F(Unfinished, IsNamedAfterStepJobAndAttempt) {
  EXPECT_EQ(unfinished_folder("run/checkpoints/step_000012000", {"4711", "2"}),
            "run/checkpoints/step_000012000.4711.2.tmp");
}

TEST_F(Unfinished, TheJobIsSlurmsOrThisProcess) {
  EXPECT_EQ(this_writer("node-7").job, "node-7-" + std::to_string(::getpid()));
  EXPECT_EQ(this_writer("node-7").attempt, "0");
  ::setenv("SLURM_JOB_ID", "4711", 1);
  ::setenv("SLURM_RESTART_COUNT", "3", 1);
  EXPECT_EQ(this_writer("node-7").job, "4711");
  EXPECT_EQ(this_writer("node-7").attempt, "3");
}

TEST_F(Unfinished, IsAbandonedWhenItIsOfAnEarlierAttemptOfTheSameJob) {
  EXPECT_TRUE(abandoned("12", minutes(0), {"12", "1"}));
  EXPECT_FALSE(abandoned("13", minutes(0), {"12", "1"}));
  EXPECT_TRUE(abandoned("12", minutes(0), {"12", "10"}, "9"));
  EXPECT_FALSE(abandoned("12", minutes(0), {"12", "9"}, "10"))
      << "an attempt that was given up removes nothing of the next";
}

TEST_F(Unfinished, IsAbandonedWhenItsProcessHasEndedOnThisHost) {
  const std::string dead = std::to_string(dead_process());
  EXPECT_TRUE(abandoned("node-7-" + dead));
  EXPECT_FALSE(abandoned("node-8-" + dead)) << "nobody here knows of that host's processes";
  EXPECT_FALSE(abandoned("node-7-" + std::to_string(::getpid())));
}

TEST_F(Unfinished, OfAnotherJobIsAbandonedWhenNothingChangedForAnHour) {
  EXPECT_FALSE(abandoned("4711", minutes(50)));
  EXPECT_TRUE(abandoned("4711", minutes(70)));
}

TEST_F(Unfinished, ADeletionIsEverybodys) {
  const fs::path folder = (scratch_.path() / "step_000000100").string() + kDeleted;
  fs::create_directories(folder);
  EXPECT_TRUE(is_abandoned(folder, {"12", "0"}, "node-7"));
}

}  // namespace
}  // namespace cfm::checkpoint
