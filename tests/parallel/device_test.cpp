#include "parallel/device.h"

#include <ATen/Context.h>

#include "parallel/nccl_backend.h"
#include "support/mpi_tests.h"

namespace cfm::parallel {
namespace {

using test::session;

TEST(Device, CpuIsAlwaysThere) {
  EXPECT_TRUE(choose_device(session(), "cpu").is_cpu());
  EXPECT_NO_THROW(synchronize(c10::Device(c10::kCPU)));
}

TEST(Device, ExactFloat32LeavesTf32ToNobody) {
  at::globalContext().setAllowTF32CuDNN(true);
  use_exact_float32();
  EXPECT_FALSE(at::globalContext().allowTF32CuDNN());
  EXPECT_FALSE(at::globalContext().allowTF32CuBLAS());
  EXPECT_FALSE(at::globalContext().benchmarkCuDNN());
  EXPECT_TRUE(at::globalContext().deterministicCuDNN());
}

TEST(Device, AnUnknownNameIsRefused) { EXPECT_THROW(choose_device(session(), "gpu"), SharedError); }

TEST(Device, CudaWithoutAGpuIsRefusedSayingWhatToDo) {
  if (cuda_device_count() > 0) {
    EXPECT_TRUE(choose_device(session(), "cuda").is_cuda());
    return;
  }
  const std::string expected = built_with_nccl() ? "no GPU is visible" : "built without NCCL";
  try {
    choose_device(session(), "cuda");
    FAIL() << "nothing thrown";
  } catch (const SharedError& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::kWontWork);
    EXPECT_NE(std::string(error.what()).find(expected), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("--device=cpu"), std::string::npos) << error.what();
  }
}

TEST(Device, AutoNeverFallsBackToCpuInAProgramBuiltForCuda) {
  if (!built_with_nccl()) {
    EXPECT_TRUE(choose_device(session(), "auto").is_cpu());
  } else if (cuda_device_count() == 0) {
    EXPECT_THROW(choose_device(session(), "auto"), SharedError);
  } else {
    EXPECT_TRUE(choose_device(session(), "auto").is_cuda());
  }
}

}  // namespace
}  // namespace cfm::parallel

int main(int argc, char** argv) { return cfm::test::run_mpi_tests(argc, argv); }
