// A run that is stopped by a signal and continued by the same command ends with the same bits as one that is not. (On
// GPUs with the same losses: expect_same_training.)

#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <thread>

#include "support/training_run.h"

namespace cfm::test {
namespace {

class Resume : public testing::TestWithParam<int> {};

TEST_P(Resume, AfterASignalGivesTheSameBitsAsARunInOneGo) {
  const TemporaryFolder folder;
  const std::string data = digit_shards(folder.path(), "train", 0, 300);
  const auto command = [&](const std::string& name) {
    return mpirun(GetParam()) + small_run(data, folder.path() / name) +
           std::vector<std::string>{"--steps=200", "--lr=1e-3"};
  };

  const Finished whole = run(command("whole"), folder.path() / "whole.log");
  ASSERT_EQ(whole.exit_code, 0) << whole.output;

  Running first(command("parts"), folder.path() / "first.log");
  while (!first.ended() && losses(folder.path() / "parts").count(120) == 0)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  kill(first.pid(), SIGUSR1);
  const Finished stopped = first.wait();
  ASSERT_EQ(stopped.exit_code, 75) << stopped.output;
  const long stopped_at = losses(folder.path() / "parts").rbegin()->first;
  ASSERT_GE(stopped_at, 120);
  ASSERT_LT(stopped_at, 200) << "the signal came too late to interrupt anything";

  const Finished second = run(command("parts"), folder.path() / "second.log");
  ASSERT_EQ(second.exit_code, 0) << second.output;
  EXPECT_NE(second.output.find("resumed at step " + std::to_string(stopped_at)), std::string::npos) << second.output;

  expect_same_training(folder.path() / "parts", folder.path() / "whole", "step_000000200");
}

INSTANTIATE_TEST_SUITE_P(Ranks, Resume, testing::ValuesIn(rank_counts({1, 2, 3, 4})),
                         testing::PrintToStringParamName());

}  // namespace
}  // namespace cfm::test
