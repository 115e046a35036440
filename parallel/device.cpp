#include "parallel/device.h"

#include <ATen/Context.h>

#include <fstream>

#include "parallel/gpu_choice.h"
#include "parallel/nccl_backend.h"

namespace cfm::parallel {
namespace {

// Equal for processes of one machine, whatever host name their containers have.
std::string machine_id() {
  std::string id;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> id;
  return id;
}

// By rank. Collective.
std::vector<GpuName> gpus_of_all(const MpiSession& session, int gpu) {
  const std::vector<std::string> machines = session.control().all_gather(machine_id());
  const std::vector<std::string> ids = session.control().all_gather(cuda_pci_bus_id(gpu));
  std::vector<GpuName> gpus;
  for (size_t r = 0; r < ids.size(); ++r) gpus.push_back({machines[r], ids[r]});
  return gpus;
}

}  // namespace

c10::Device choose_device(const MpiSession& session, const std::string& wanted) {
  if (wanted != "auto" && wanted != "cpu" && wanted != "cuda") {
    throw SharedError("--device=" + wanted + ": expected auto, cpu or cuda");
  }
  if (wanted == "cpu" || (wanted == "auto" && !built_with_nccl())) return c10::Device(c10::kCPU);
  int gpu = 0;
  agree_on(session, [&] {
    check(built_with_nccl(),
          "--device=cuda, but this program was built without NCCL: build preset cuda, or use --device=cpu");
    gpu = gpu_of_rank(session.local_rank(), session.local_size(), cuda_device_count());
    set_cuda_device(gpu);
  });
  check_distinct_gpus(gpus_of_all(session, gpu));
  return {c10::kCUDA, static_cast<c10::DeviceIndex>(gpu)};
}

void use_exact_float32() {
  at::globalContext().setAllowTF32CuBLAS(false);
  at::globalContext().setAllowTF32CuDNN(false);
  at::globalContext().setBenchmarkCuDNN(false);
  at::globalContext().setDeterministicCuDNN(true);
}

void synchronize(c10::Device device) {
  if (device.is_cuda()) synchronize_cuda_device(device.index());
}

GpuMemory gpu_memory(c10::Device device) { return device.is_cuda() ? cuda_memory(device.index()) : GpuMemory{}; }

}  // namespace cfm::parallel
