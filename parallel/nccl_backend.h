#pragma once
// All that the rest of this folder knows of CUDA and NCCL. Two files define it: nccl_backend.cpp (library cfm::nccl)
// and no_nccl.cpp (cfm::no_nccl); a program links one of them.

#include <c10/core/Device.h>
#include <c10/util/intrusive_ptr.h>

#include <chrono>
#include <string>

namespace c10d {
class Backend;
class Store;
}  // namespace c10d

namespace cfm::parallel {

struct GpuMemory;  // parallel/device.h

bool built_with_nccl();

// GPUs that this process sees; 0 on a machine without one, and without NCCL. The others below throw Error without NCCL.
int cuda_device_count();
void set_cuda_device(int index);
std::string cuda_pci_bus_id(int index);
void synchronize_cuda_device(int index);
GpuMemory cuda_memory(int index);

// A ProcessGroupNCCL on `device`, already connected: a broken fabric shows here. Collective; `store` is shared by all
// ranks.
c10::intrusive_ptr<c10d::Backend> make_nccl_backend(const c10::intrusive_ptr<c10d::Store>& store, int rank, int size,
                                                    c10::Device device, std::chrono::milliseconds timeout);

}  // namespace cfm::parallel
