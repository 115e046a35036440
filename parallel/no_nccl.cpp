#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <torch/csrc/distributed/c10d/Store.hpp>

#include "base/error.h"
#include "parallel/device.h"
#include "parallel/nccl_backend.h"

namespace cfm::parallel {
namespace {

[[noreturn]] void refuse() {
  throw Error("this program was built without NCCL: build preset cuda, or use --device=cpu");
}

}  // namespace

bool built_with_nccl() { return false; }
int cuda_device_count() { return 0; }
void set_cuda_device(int) { refuse(); }
std::string cuda_pci_bus_id(int) { refuse(); }
void synchronize_cuda_device(int) { refuse(); }
GpuMemory cuda_memory(int) { refuse(); }
c10::intrusive_ptr<c10d::Backend> make_nccl_backend(const c10::intrusive_ptr<c10d::Store>&, int, int, c10::Device,
                                                    std::chrono::milliseconds) {
  refuse();
}

}  // namespace cfm::parallel
