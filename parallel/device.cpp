#include "parallel/device.h"

#include <fstream>
#include <map>

#include "parallel/nccl_backend.h"

namespace cfm::parallel {
namespace {

// Equal for processes of one machine, whatever host name their containers have.
std::string machine_id() {
  std::string id;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> id;
  return id;
}

// The index of this rank's GPU among those it sees.
int gpu_of_rank(const MpiSession& session) {
  check(built_with_nccl(),
        "--device=cuda, but this program was built without NCCL: build preset cuda, or use --device=cpu");
  const int gpus = cuda_device_count();
  check(gpus > 0, "--device=cuda, but no GPU is visible: start it where there is one, or ask for --device=cpu");
  // One visible GPU: the scheduler has given this rank its own; two ranks on it are found by check_distinct_gpus.
  if (gpus == 1) return 0;
  check(session.local_rank() < gpus, "--device=cuda: " + std::to_string(session.local_size()) +
                                         " ranks on this node, but " + std::to_string(gpus) +
                                         " GPUs: start one rank per GPU, or use --device=cpu");
  return session.local_rank();
}

// Collective.
void check_distinct_gpus(const MpiSession& session, int gpu) {
  const std::vector<std::string> gpus = session.control().all_gather(machine_id() + " " + cuda_pci_bus_id(gpu));
  std::map<std::string, int> first_rank_on;
  for (int r = 0; r < session.size(); ++r) {
    const auto [entry, is_new] = first_rank_on.emplace(gpus[static_cast<size_t>(r)], r);
    if (is_new) continue;
    throw SharedError("--device=cuda: ranks " + std::to_string(entry->second) + " and " + std::to_string(r) +
                      " share the GPU " + cuda_pci_bus_id(gpu) + ": start one rank per GPU");
  }
}

}  // namespace

c10::Device choose_device(const MpiSession& session, const std::string& wanted) {
  if (wanted != "auto" && wanted != "cpu" && wanted != "cuda") {
    throw SharedError("--device=" + wanted + ": expected auto, cpu or cuda");
  }
  if (wanted == "cpu" || (wanted == "auto" && !built_with_nccl())) return c10::Device(c10::kCPU);
  int gpu = 0;
  agree_on(session, [&] {
    gpu = gpu_of_rank(session);
    set_cuda_device(gpu);
  });
  check_distinct_gpus(session, gpu);
  return {c10::kCUDA, static_cast<c10::DeviceIndex>(gpu)};
}

void synchronize(c10::Device device) {
  if (device.is_cuda()) synchronize_cuda_device(device.index());
}

}  // namespace cfm::parallel
