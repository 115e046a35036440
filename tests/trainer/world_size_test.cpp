// The number of ranks decides how fast a run is, not what it learns.

#include <gtest/gtest.h>

#include <cmath>

#include "support/training_run.h"

namespace cfm::test {
namespace {

TEST(WorldSize, LossesOfTheFirstFiftyStepsAgreeForOneTwoAndThreeRanks) {
  const TemporaryFolder folder;
  const std::string data = digit_shards(folder.path(), "train", 0, 300);
  std::map<long, double> of_one_rank;
  for (const int ranks : {1, 2, 3}) {
    const auto run_dir = folder.path() / std::to_string(ranks);
    const Finished finished =
        run(mpirun(ranks) + small_run(data, run_dir) + std::vector<std::string>{"--steps=50", "--lr=1e-3"},
            folder.path() / "log");
    ASSERT_EQ(finished.exit_code, 0) << finished.output;
    const auto found = losses(run_dir);
    ASSERT_EQ(found.size(), 50U);
    if (ranks == 1) of_one_rank = found;
    for (const auto& [step, loss] : found) {
      EXPECT_NEAR(loss / of_one_rank.at(step), 1, 1e-5) << "step " << step << " at " << ranks << " ranks";
    }
  }
  EXPECT_LT(of_one_rank.at(50), 0.8 * of_one_rank.at(1)) << "the network does not learn";
}

TEST(WorldSize, TheSameCommandTwiceGivesTheSameWeights) {
  const TemporaryFolder folder;
  const std::string data = digit_shards(folder.path(), "train", 0, 300);
  for (const std::string name : {"once", "again"}) {
    const Finished finished =
        run(mpirun(2) + small_run(data, folder.path() / name) + std::vector<std::string>{"--steps=50", "--lr=1e-3"},
            folder.path() / "log");
    ASSERT_EQ(finished.exit_code, 0) << finished.output;
  }
  const auto once = tensors_of(folder.path() / "once", "step_000000050");
  ASSERT_FALSE(once.empty());
  EXPECT_TRUE(once == tensors_of(folder.path() / "again", "step_000000050"));
}

TEST(WorldSize, HeldOutLossIsTheSameNumberForAnyNumberOfRanks) {
  const TemporaryFolder folder;
  const std::string data = digit_shards(folder.path(), "train", 0, 300);
  const std::string val = digit_shards(folder.path(), "val", 1297, 45);
  std::string expected;
  for (const int ranks : {1, 2, 3}) {
    const auto finished = run(mpirun(ranks) + small_run(data, folder.path() / std::to_string(ranks)) +
                                  std::vector<std::string>{"--steps=1", "--val_data=" + val, "--val_every=1",
                                                           "--net_batch=16", "--lr=1e-30", "--lr_floor=0"},
                              folder.path() / "log");
    ASSERT_EQ(finished.exit_code, 0) << finished.output;
    const size_t at = finished.output.find("held-out");
    ASSERT_NE(at, std::string::npos) << finished.output;
    const std::string line = finished.output.substr(at, finished.output.find('\n', at) - at);
    if (expected.empty()) expected = line;
    EXPECT_EQ(line, expected);
  }
}

}  // namespace
}  // namespace cfm::test
