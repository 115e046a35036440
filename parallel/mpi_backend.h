#pragma once
// A c10d::Backend over MPI for CPU tensors: what Gloo is to PyTorch's DDP, with sums in rank order.

#include <c10/util/intrusive_ptr.h>

#include <chrono>
#include <cstdint>

#include "parallel/mpi_session.h"

namespace c10d {
class Backend;
}

namespace cfm::parallel {

// What a backend has been asked to do so far.
struct MpiBackendCounts {
  int64_t all_reduces = 0, broadcasts = 0, all_gathers = 0, barriers = 0;
};

// all-reduce (sum, average, min, max, product; float, double, bf16, half, int64, int32, int8, uint8, bool as max/min),
// broadcast, all-gather and barrier; the rest is refused by c10d::Backend. Operations run in the order of their calls
// on one thread of the backend and complete their futures there. A rank that waits for the others longer than
// `timeout`, and any MPI error, becomes a c10::DistBackendError in the future; the operations behind it then fail too.
// One rank starts no thread. The communicator must serve nothing else.
c10::intrusive_ptr<c10d::Backend> make_mpi_backend(Communicator communicator, std::chrono::milliseconds timeout);

// REQUIRES: made by make_mpi_backend.
MpiBackendCounts counts_of(const c10d::Backend& backend);

}  // namespace cfm::parallel
