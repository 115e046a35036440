#pragma once
#include <c10/core/Device.h>

#include <cstdint>
#include <string>

#include "parallel/mpi_session.h"

namespace cfm::parallel {

// The device of this rank for --device=auto|cpu|cuda. cuda: the local rank's GPU, or GPU 0 where the scheduler shows
// each rank a single one; refused: a machine without a GPU (it says to ask for --device=cpu), fewer GPUs than local
// ranks, two ranks on one GPU (compared by PCI bus id), a program built without NCCL. auto: cuda in a program built
// with NCCL, cpu otherwise; never a silent fall-back to cpu. Sets the current CUDA device. Collective; throws
// SharedError.
c10::Device choose_device(const MpiSession& session, const std::string& wanted);

// From now on float32 arithmetic is float32 on every device (cuDNN would take TF32 for convolutions), and cuDNN's
// algorithms are the same ones every time. Operations under autocast are not concerned.
void use_exact_float32();

// Waits for everything queued on the device; nothing on cpu.
void synchronize(c10::Device device);

// What this process's tensors take on a GPU, in bytes.
struct GpuMemory {
  int64_t allocated = 0, peak = 0;  // by tensors, now and at most since the start
  int64_t reserved = 0;             // what LibTorch has of the GPU, for tensors now and to come
};

// All 0 on cpu. Waits for nothing that is queued.
GpuMemory gpu_memory(c10::Device device);

}  // namespace cfm::parallel
