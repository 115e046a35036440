// The program of preset cuda, as the cpu tree builds it too (cfm_train_cuda), where no GPU is visible.

#include <gtest/gtest.h>
#include <stdlib.h>

#include "support/training_run.h"

namespace cfm::test {
namespace {

class CudaProgram : public testing::Test {
 protected:
  void SetUp() override {
    ::setenv("CUDA_VISIBLE_DEVICES", "", 1);  // also on a machine that has GPUs
    data_ = digit_shards(folder_.path(), "train", 0, 100);
  }
  Finished train(const std::string& name, const std::vector<std::string>& more, int ranks) {
    std::vector<std::string> command = small_run(data_, folder_.path() / name);
    command[0] = program("cfm_train_cuda");
    return run(mpirun(ranks) + command + more, folder_.path() / "log");
  }
  TemporaryFolder folder_;
  std::string data_;
};

TEST_F(CudaProgram, WithoutAGpuEndsWithExitCode2AndNamesTheWayOut) {
  for (const std::vector<std::string>& device : {std::vector<std::string>{}, {"--device=cuda"}}) {
    for (const int ranks : {0, 2}) {
      const Finished finished = train("refused", device + std::vector<std::string>{"--steps=1"}, ranks);
      EXPECT_EQ(finished.exit_code, 2) << finished.output;
      EXPECT_NE(finished.output.find("no GPU is visible"), std::string::npos) << finished.output;
      EXPECT_NE(finished.output.find("--device=cpu"), std::string::npos) << finished.output;
      EXPECT_LT(finished.seconds, 20);
    }
  }
}

TEST_F(CudaProgram, AskedForTheCpuTrainsAsTheProgramWithoutNcclDoes) {
  const Finished cuda = train("cuda", {"--steps=3", "--lr=1e-3", "--device=cpu"}, 2);
  ASSERT_EQ(cuda.exit_code, 0) << cuda.output;
  const Finished cpu = run(mpirun(2) + small_run(data_, folder_.path() / "cpu") +
                               std::vector<std::string>{"--steps=3", "--lr=1e-3", "--device=cpu"},
                           folder_.path() / "log");
  ASSERT_EQ(cpu.exit_code, 0) << cpu.output;
  expect_same_training(folder_.path() / "cuda", folder_.path() / "cpu", "step_000000003");
}

}  // namespace
}  // namespace cfm::test
