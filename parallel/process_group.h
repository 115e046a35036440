#pragma once
// The c10d::ProcessGroup that gradients are reduced on: our MPI backend for CPU tensors, NCCL for CUDA tensors, and one
// store that all ranks share.

#include <c10/core/Device.h>
#include <c10/util/intrusive_ptr.h>

#include <chrono>
#include <memory>

#include "parallel/mpi_session.h"

namespace c10d {
class ProcessGroup;
class Store;
}  // namespace c10d

namespace cfm::parallel {

class ProcessGroup {
 public:
  // Collective. The store is used by CPU runs too (each rank leaves its host there and reads all others').
  ProcessGroup(const MpiSession& session, c10::Device device, std::chrono::seconds timeout);
  ~ProcessGroup();  // local only: call shut_down() first
  ProcessGroup(const ProcessGroup&) = delete;
  ProcessGroup& operator=(const ProcessGroup&) = delete;

  // Collective: drains, shuts the backends down, then drops the store once every rank is here.
  void shut_down();

  c10d::ProcessGroup& c10d() const { return *group_; }
  const c10::intrusive_ptr<c10d::ProcessGroup>& c10d_ptr() const { return group_; }
  c10d::Store& store() const { return *store_; }
  c10::Device device() const { return device_; }
  int rank() const { return rank_; }
  int size() const { return size_; }
  const MpiSession& session() const { return session_; }

 private:
  const MpiSession& session_;
  c10::Device device_;
  int rank_, size_;
  c10::intrusive_ptr<c10d::Store> store_;
  c10::intrusive_ptr<c10d::ProcessGroup> group_;
};

}  // namespace cfm::parallel
