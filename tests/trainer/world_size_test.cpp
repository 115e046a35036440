// The number of ranks decides how fast a run is, not what it learns.

#include <gtest/gtest.h>

#include <cmath>

#include "base/durable_file.h"
#include "support/training_run.h"

namespace cfm::test {
namespace {

TEST(WorldSize, LossesOfTheFirstFiftyStepsAgreeForOneTwoAndThreeRanks) {
  const TemporaryFolder folder;
  const std::string data = digit_shards(folder.path(), "train", 0, 300);
  // Dropout on CUDA is ATen's, seeded by rank and micro-batch, and its convolutions choose their algorithms by the
  // batch.
  const double dropout = on_gpus() ? 0 : 0.1, tolerance = on_gpus() ? 1e-2 : 1e-5;
  std::map<long, double> of_one_rank;
  for (const int ranks : rank_counts({1, 2, 3})) {
    const auto run_dir = folder.path() / std::to_string(ranks);
    const Finished finished =
        run(mpirun(ranks) + small_run(data, run_dir, dropout) + std::vector<std::string>{"--steps=50", "--lr=1e-3"},
            folder.path() / "log");
    ASSERT_EQ(finished.exit_code, 0) << finished.output;
    const auto found = losses(run_dir);
    ASSERT_EQ(found.size(), 50U);
    if (ranks == 1) of_one_rank = found;
    for (const auto& [step, loss] : found) {
      EXPECT_NEAR(loss / of_one_rank.at(step), 1, tolerance) << "step " << step << " at " << ranks << " ranks";
    }
  }
  EXPECT_LT(of_one_rank.at(50), 0.8 * of_one_rank.at(1)) << "the network does not learn";
}

// Couplings and strata are of the global batch: blocks of 16 in a batch of 50 cross the cuts between ranks (25; 16 and
// 33) and between micro-batches.
TEST(WorldSize, CoupledNoiseAndStratifiedTimesAreTheSameForAnyRanksAndMicroBatches) {
  const TemporaryFolder folder;
  const std::string data = digit_shards(folder.path(), "train", 0, 300);
  const double dropout = on_gpus() ? 0 : 0.1, tolerance = on_gpus() ? 1e-2 : 1e-5;
  int runs = 0;
  const auto losses_of = [&](int ranks, const std::vector<std::string>& flags) {
    const auto run_dir = folder.path() / std::to_string(runs++);
    const auto command = with_flags(small_run(data, run_dir, dropout), std::vector<std::string>{"--steps=12"} + flags);
    const Finished finished = run(mpirun(ranks) + command, folder.path() / "log");
    EXPECT_EQ(finished.exit_code, 0) << finished.output;
    return losses(run_dir);
  };
  const std::vector<std::string> coupled{"--lr=1e-3", "--stratified=true", "--coupling=minibatch_ot", "--ot_block=16"};
  const auto expected = losses_of(1, coupled + std::vector<std::string>{"--micro_batch=0"});
  ASSERT_EQ(expected.size(), 12U);
  const auto expect_same = [&](const std::map<long, double>& found) {
    ASSERT_EQ(found.size(), 12U);
    for (const auto& [step, loss] : found) EXPECT_NEAR(loss / expected.at(step), 1, tolerance) << "step " << step;
  };
  for (const int ranks : rank_counts({1, 2, 3})) {
    SCOPED_TRACE(std::to_string(ranks) + " ranks");
    expect_same(losses_of(ranks, coupled));
    expect_same(losses_of(ranks, coupled + std::vector<std::string>{"--micro_batch=7", "--loader_threads=2"}));
  }
  // A network that is zero has the loss E|x1 - x0|^2: the coupling brings the two nearer.
  const std::vector<std::string> zero{"--steps=1", "--lr=1e-30", "--lr_floor=0"};
  const double alone = losses_of(1, zero).at(1);
  const double in_blocks =
      losses_of(1, zero + std::vector<std::string>{"--coupling=minibatch_ot", "--ot_block=16"}).at(1);
  const double in_one = losses_of(1, zero + std::vector<std::string>{"--coupling=minibatch_ot", "--ot_block=50"}).at(1);
  EXPECT_LT(in_blocks, 0.99 * alone);
  EXPECT_LT(in_one, in_blocks);
}

TEST(WorldSize, TheSameCommandTwiceGivesTheSameWeights) {
  const TemporaryFolder folder;
  const std::string data = digit_shards(folder.path(), "train", 0, 300);
  for (const std::string name : {"once", "again"}) {
    const Finished finished = run(mpirun(rank_counts({1, 2, 3}).back()) + small_run(data, folder.path() / name) +
                                      std::vector<std::string>{"--steps=50", "--lr=1e-3"},
                                  folder.path() / "log");
    ASSERT_EQ(finished.exit_code, 0) << finished.output;
  }
  expect_same_training(folder.path() / "again", folder.path() / "once", "step_000000050");
}

// A network that is not zero, and whose weights a step leaves as they are: they are the same for any number of ranks.
std::vector<std::string> standing_still() {
  return {"--steps=1", "--lr=1e-30", "--lr_floor=0", "--zero_init=false", "--net_batch=16"};
}

TEST(WorldSize, HeldOutLossesAreTheSameNumbersForAnyNumberOfRanks) {
  const TemporaryFolder folder;
  const std::string data = digit_shards(folder.path(), "train", 0, 300);
  const std::string val = digit_shards(folder.path(), "val", 1297, 45);
  std::map<std::string, nlohmann::json> expected;  // by weights
  for (const int ranks : rank_counts({1, 2, 3})) {
    const auto run_dir = folder.path() / std::to_string(ranks);
    const Finished finished = run(mpirun(ranks) + small_run(data, run_dir) + standing_still() +
                                      std::vector<std::string>{"--val_data=" + val, "--val_every=1"},
                                  folder.path() / "log");
    ASSERT_EQ(finished.exit_code, 0) << finished.output;
    const auto found = events(run_dir, "validation");
    ASSERT_EQ(found.size(), 2U) << finished.output;  // the raw weights and their longest average
    for (const nlohmann::json& event : found) {
      const std::string weights = event.at("weights");
      const auto [first, is_first] = expected.try_emplace(weights, event);
      EXPECT_EQ(event.at("images"), 45);
      EXPECT_EQ(event.at("loss").get<double>(), first->second.at("loss").get<double>()) << weights << " at " << ranks;
      EXPECT_EQ(event.at("loss_by_t"), first->second.at("loss_by_t")) << weights << " at " << ranks;
    }
  }
  EXPECT_EQ(expected.size(), 2U);
  // A network that is zero everywhere has the loss E|x1 - x0|^2, whoever evaluates it.
  const Finished zero = run(mpirun(1) + small_run(data, folder.path() / "zero") +
                                std::vector<std::string>{"--steps=1", "--lr=1e-30", "--lr_floor=0", "--net_batch=16",
                                                         "--val_data=" + val, "--val_every=1"},
                            folder.path() / "log");
  ASSERT_EQ(zero.exit_code, 0) << zero.output;
  const double of_zero = events(folder.path() / "zero", "validation").at(0).at("loss");
  EXPECT_GT(std::abs(expected.at("raw").at("loss").get<double>() / of_zero - 1), 0.01)
      << "the network makes no difference";
}

TEST(WorldSize, SampleGridsAreTheSameFileForAnyNumberOfRanks) {
  const TemporaryFolder folder;
  const std::string data = digit_shards(folder.path(), "train", 0, 300);
  std::string expected;
  for (const int ranks : rank_counts({1, 2, 3})) {
    const auto run_dir = folder.path() / std::to_string(ranks);
    const Finished finished =
        run(mpirun(ranks) + small_run(data, run_dir) + standing_still() +
                std::vector<std::string>{"--sample_every=1", "--solver=euler", "--solver_steps=3"},
            folder.path() / "log");
    ASSERT_EQ(finished.exit_code, 0) << finished.output;
    const std::string found = read_file(run_dir / "samples/step_000000001.png");
    ASSERT_EQ(found.substr(1, 3), "PNG");
    if (expected.empty()) expected = found;
    EXPECT_TRUE(found == expected) << ranks << " ranks";
  }
}

}  // namespace
}  // namespace cfm::test
