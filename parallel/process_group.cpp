#include "parallel/process_group.h"

#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>
#include <torch/csrc/distributed/c10d/Store.hpp>

#include "parallel/device.h"
#include "parallel/mpi_backend.h"
#include "parallel/mpi_store.h"
#include "parallel/nccl_backend.h"

namespace cfm::parallel {
namespace {

using StorePtr = c10::intrusive_ptr<c10d::Store>;
using GroupType = c10d::ProcessGroup::BackendType;

// Collective: shows that the store is one: each rank leaves its host there and finds all others' as MPI tells them.
void introduce(const MpiSession& session, c10d::Store& store) {
  const auto key = [](int r) { return "cfm/host/" + std::to_string(r); };
  const std::vector<std::string> hosts = session.control().all_gather(session.host());
  agree_on(session, [&] { store.set(key(session.rank()), session.host()); });
  agree_on(session, [&] {
    for (int r = 0; r < session.size(); ++r) {
      const std::string found = store.get_to_str(key(r));
      check(found == hosts[static_cast<size_t>(r)], "the store is not shared: " + key(r) + " is '" + found +
                                                        "', expected '" + hosts[static_cast<size_t>(r)] + "'");
    }
  });
}

}  // namespace

ProcessGroup::ProcessGroup(const MpiSession& session, c10::Device device, std::chrono::seconds timeout)
    : session_(session), device_(device), rank_(session.rank()), size_(session.size()) {
  store_ = make_mpi_store(session.duplicate(), timeout);
  introduce(session, *store_);
  group_ = c10::make_intrusive<c10d::ProcessGroup>(store_, rank_, size_);
  if (device.is_cuda()) group_->setBoundDeviceId(device);
  group_->setBackend(c10::kCPU, GroupType::CUSTOM, make_mpi_backend(session.duplicate(), timeout));
  group_->setDefaultBackend(GroupType::CUSTOM);
  if (device.is_cuda()) {
    agree_on(session, [&] {
      const StorePtr store = c10::make_intrusive<c10d::PrefixStore>("nccl", store_);
      group_->setBackend(c10::kCUDA, GroupType::NCCL, make_nccl_backend(store, rank_, size_, device, timeout));
    });
    group_->setDefaultBackend(GroupType::NCCL);
  }
  group_->setGroupName("cfm");
}

ProcessGroup::~ProcessGroup() = default;

void ProcessGroup::shut_down() {
  synchronize(device_);
  session_.control().barrier();
  group_->shutdown();
  group_.reset();
  session_.control().barrier();  // rank 0 answers until all are done with the store
  stop_answering(*store_);
  store_.reset();
}

}  // namespace cfm::parallel
