// A disk that fills up under a run: a small file system in memory, mounted in a namespace of its own.

#include <gtest/gtest.h>

#include "support/subprocess.h"
#include "support/training_run.h"

namespace cfm::test {
namespace {

uintmax_t bytes_in(const std::filesystem::path& folder) {
  uintmax_t bytes = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder))
    if (entry.is_regular_file()) bytes += entry.file_size();
  return bytes;
}

std::string joined(const std::vector<std::string>& words) {
  std::string all;
  for (const std::string& word : words) all += word + " ";
  return all;
}

TEST(FullDisk, LeavesTheLastCheckpointIsSaidAndEndsARunOnlyWhereItsLastSaveFails) {
  const TemporaryFolder folder;
  const std::string data = digit_shards(folder.path(), "train", 0, 100), disk = (folder.path() / "disk").string();
  std::filesystem::create_directories(disk);
  const std::vector<std::string> saving{"--steps=6", "--checkpoint_every=2", "--keep_last=0", "--lr=1e-2"};
  const auto command = [&](const std::string& run_dir) {
    return mpirun(2) + with_flags(small_run(data, run_dir), saving);
  };
  const Finished whole = run(command(folder.path() / "whole"), folder.path() / "log");
  ASSERT_EQ(whole.exit_code, 0) << whole.output;
  const uintmax_t kilobytes = bytes_in(folder.path() / "whole/checkpoints/step_000000006") / 1024;

  const std::string train = joined(command(disk + "/run"));
  const CommandResult result =
      run_command("unshare -rm bash -c \"mount -t tmpfs -o size=" + std::to_string(kilobytes * 3 / 2) + "k tmpfs " +
                      disk + "; " + train + "; echo ended with \\$?; ls " + disk +
                      "/run/checkpoints; mount -o remount,size=" + std::to_string(kilobytes * 8) + "k " + disk + "; " +
                      train + "; echo ended with \\$?; cp -r " + disk + "/run " + folder.path().string() + "\"",
                  300);
  const std::string& output = result.output;
  const size_t first = output.find("ended with 1\n"), second = output.find("ended with 0\n");
  ASSERT_NE(first, std::string::npos) << output;
  ASSERT_NE(second, std::string::npos) << output;
  EXPECT_LT(output.find("the checkpoint of step 4 failed (1 so far)"), first) << output;
  EXPECT_LT(output.find("the checkpoint of step 6 failed (2 so far)"), first) << output;
  EXPECT_LT(output.find("No space left on device"), first) << output;
  EXPECT_NE(output.find("ended with 1\nstep_000000002\n"), std::string::npos) << output;
  EXPECT_NE(output.find("resumed at step 2", first), std::string::npos) << output;
  EXPECT_EQ(events(folder.path() / "run", "checkpoint_failed").size(), 2U);
  expect_same_training(folder.path() / "run", folder.path() / "whole", "step_000000006");
}

}  // namespace
}  // namespace cfm::test
