// A run that is stopped by a signal and continued by the same command ends with the same bits as one that is not. (On
// GPUs with the same losses: expect_same_training.)

#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <thread>

#include "support/training_run.h"

namespace cfm::test {
namespace {

// What the gradient reducer's first bucket holds, and the first two.
constexpr std::uintmax_t kOneBucket = 1 << 20, kTwoBuckets = kOneBucket + (25 << 20);

// A run to `steps` in one go, and the same with a signal at step `stop` and the same command again. Its weights, and so
// its gradients, are more than `buckets` bytes.
void expect_equal_to_one_go(int ranks, long stop, long steps, std::uintmax_t buckets,
                            const std::vector<std::string>& flags) {
  const TemporaryFolder folder;
  const std::string data = digit_shards(folder.path(), "train", 0, 300);
  const auto command = [&](const std::string& name) {
    return mpirun(ranks) + with_flags(small_run(data, folder.path() / name), flags) +
           std::vector<std::string>{"--steps=" + std::to_string(steps), "--lr=1e-3"};
  };

  const Finished whole = run(command("whole"), folder.path() / "whole.log");
  ASSERT_EQ(whole.exit_code, 0) << whole.output;

  Running first(command("parts"), folder.path() / "first.log");
  while (!first.ended() && losses(folder.path() / "parts").count(stop) == 0)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  kill(first.pid(), SIGUSR1);
  const Finished stopped = first.wait();
  ASSERT_EQ(stopped.exit_code, 75) << stopped.output;
  const long stopped_at = losses(folder.path() / "parts").rbegin()->first;
  ASSERT_GE(stopped_at, stop);
  ASSERT_LT(stopped_at, steps) << "the signal came too late to interrupt anything";

  const Finished second = run(command("parts"), folder.path() / "second.log");
  ASSERT_EQ(second.exit_code, 0) << second.output;
  EXPECT_NE(second.output.find("resumed at step " + std::to_string(stopped_at)), std::string::npos) << second.output;

  std::string last = std::to_string(steps);
  last.insert(0, 9 - last.size(), '0');
  EXPECT_GT(file_size(folder.path() / "whole/checkpoints" / ("step_" + last) / "model.safetensors"), buckets);
  expect_same_training(folder.path() / "parts", folder.path() / "whole", "step_" + last);
}

class Resume : public testing::TestWithParam<int> {};

TEST_P(Resume, AfterASignalGivesTheSameBitsAsARunInOneGo) {
  expect_equal_to_one_go(GetParam(), 60, 120, kOneBucket, {"--global_batch=10", "--micro_batch=4"});
}

INSTANTIATE_TEST_SUITE_P(Ranks, Resume, testing::ValuesIn(rank_counts({1, 2, 3, 4})),
                         testing::PrintToStringParamName());

// An embedding of 28 MB fills the second bucket; what is registered before it comes in a third. Three ranks, where
// there are so many: two numbers have the same sum in any order.
TEST(ResumeWithThreeBuckets, AfterASignalGivesTheSameBitsAsARunInOneGo) {
  expect_equal_to_one_go(rank_counts({1, 2, 3}).back(), 12, 30, kTwoBuckets, {"--num_classes=54000"});
}

// Rounding differs with the number of ranks, nothing else does: with dropout, clipping and a warm-up.
TEST(ResumeOnOtherRanks, FourThenTwoThenThreeThenOneLearnWhatARunInOneGoLearns) {
  const TemporaryFolder folder;
  const std::string data = digit_shards(folder.path(), "train", 0, 300);
  const double dropout = on_gpus() ? 0 : 0.1, tolerance = on_gpus() ? 1e-2 : 1e-4;
  const auto train = [&](const std::string& name, int ranks, int steps) {
    const Finished finished = run(mpirun(ranks) + with_flags(small_run(data, folder.path() / name, dropout),
                                                             {"--steps=" + std::to_string(steps), "--lr=1e-3"}),
                                  folder.path() / "log");
    EXPECT_EQ(finished.exit_code, 0) << finished.output;
  };
  train("whole", 1, 100);
  int steps = 0;
  for (const int ranks : rank_counts({4, 2, 3, 1})) train("parts", ranks, steps += 25);
  const auto whole = losses(folder.path() / "whole"), parts = losses(folder.path() / "parts");
  ASSERT_EQ(whole.size(), 100U);
  ASSERT_EQ(parts.size(), static_cast<size_t>(steps));
  for (const auto& [step, loss] : parts) EXPECT_NEAR(loss / whole.at(step), 1, tolerance) << "step " << step;
  EXPECT_LT(whole.at(100), 0.8 * whole.at(1)) << "the network does not learn";
}

}  // namespace
}  // namespace cfm::test
