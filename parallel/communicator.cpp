#include <algorithm>
#include <climits>
#include <numeric>
#include <utility>

#include "parallel/mpi_handle.h"
#include "parallel/mpi_session.h"
#include "parallel/rank_order.h"

namespace cfm::parallel {
namespace {

constexpr size_t kChunkBytes = size_t{1} << 30;  // MPI counts are ints
constexpr int kGatherTag = 1;

// Calls f(offset, count) for pieces of `size` bytes.
template <typename F>
void in_chunks(size_t size, const F& f) {
  for (size_t start = 0; start < size; start += kChunkBytes) {
    f(start, static_cast<int>(std::min(kChunkBytes, size - start)));
  }
}

std::vector<int64_t> all_sizes(MPI_Comm comm, size_t mine, int ranks) {
  std::vector<int64_t> sizes(static_cast<size_t>(ranks));
  const auto size = static_cast<int64_t>(mine);
  mpi_check(MPI_Allgather(&size, 1, MPI_INT64_T, sizes.data(), 1, MPI_INT64_T, comm), "MPI_Allgather");
  return sizes;
}

}  // namespace

Communicator::Communicator(std::unique_ptr<MpiHandle> handle) : handle_(std::move(handle)) {}
Communicator::Communicator(Communicator&&) noexcept = default;
Communicator& Communicator::operator=(Communicator&&) noexcept = default;
Communicator::~Communicator() = default;

int Communicator::rank() const {
  int rank = 0;
  mpi_check(MPI_Comm_rank(handle_->comm, &rank), "MPI_Comm_rank");
  return rank;
}

int Communicator::size() const {
  int size = 1;
  mpi_check(MPI_Comm_size(handle_->comm, &size), "MPI_Comm_size");
  return size;
}

void Communicator::barrier() const { meet(handle_->comm); }

void Communicator::broadcast(std::span<std::byte> bytes, int root) const {
  meet(handle_->comm);
  in_chunks(bytes.size(), [&](size_t start, int count) {
    mpi_check(MPI_Bcast(bytes.data() + start, count, MPI_BYTE, root, handle_->comm), "MPI_Bcast");
  });
}

std::string Communicator::broadcast(const std::string& text, int root) const {
  int64_t size = static_cast<int64_t>(text.size());
  broadcast(std::as_writable_bytes(std::span(&size, 1)), root);
  std::string received = rank() == root ? text : std::string(static_cast<size_t>(size), '\0');
  broadcast(std::as_writable_bytes(std::span(received)), root);
  return received;
}

std::vector<std::string> Communicator::all_gather(const std::string& text) const {
  meet(handle_->comm);
  const std::vector<int64_t> sizes = all_sizes(handle_->comm, text.size(), size());
  const int64_t total = std::accumulate(sizes.begin(), sizes.end(), int64_t{0});
  check(total <= INT_MAX, "all_gather: " + std::to_string(total) + " bytes in all; at most 2 GiB, use gather()");
  const std::vector<int> counts(sizes.begin(), sizes.end());
  std::vector<int> offsets(counts.size());
  std::exclusive_scan(counts.begin(), counts.end(), offsets.begin(), 0);
  std::string all(static_cast<size_t>(total), '\0');
  mpi_check(MPI_Allgatherv(text.data(), static_cast<int>(text.size()), MPI_BYTE, all.data(), counts.data(),
                           offsets.data(), MPI_BYTE, handle_->comm),
            "MPI_Allgatherv");
  std::vector<std::string> texts;
  for (size_t r = 0; r < counts.size(); ++r) {
    texts.push_back(all.substr(static_cast<size_t>(offsets[r]), static_cast<size_t>(counts[r])));
  }
  return texts;
}

std::vector<std::string> Communicator::gather(const std::string& bytes, int root) const {
  meet(handle_->comm);
  const MPI_Comm comm = handle_->comm;
  const std::vector<int64_t> sizes = all_sizes(comm, bytes.size(), size());
  if (rank() != root) {
    in_chunks(bytes.size(), [&](size_t start, int count) {
      mpi_check(MPI_Send(bytes.data() + start, count, MPI_BYTE, root, kGatherTag, comm), "MPI_Send");
    });
    return {};
  }
  std::vector<std::string> all(sizes.size());
  for (int r = 0; r < size(); ++r) {
    std::string& received = all[static_cast<size_t>(r)];
    if (r == root) {
      received = bytes;
      continue;
    }
    received.resize(static_cast<size_t>(sizes[static_cast<size_t>(r)]));
    in_chunks(received.size(), [&](size_t start, int count) {
      mpi_check(MPI_Recv(received.data() + start, count, MPI_BYTE, r, kGatherTag, comm, MPI_STATUS_IGNORE), "MPI_Recv");
    });
  }
  return all;
}

void Communicator::sum(std::span<double> values) const {
  std::vector<double> scratch;
  meet(handle_->comm);
  reduce_in_rank_order(values, Combine::kSum, handle_->comm, scratch);
}

void Communicator::max(std::span<double> values) const {
  std::vector<double> scratch;
  meet(handle_->comm);
  reduce_in_rank_order(values, Combine::kMax, handle_->comm, scratch);
}

bool Communicator::any(bool mine) const {
  int flag = mine ? 1 : 0;
  meet(handle_->comm);
  mpi_check(MPI_Allreduce(MPI_IN_PLACE, &flag, 1, MPI_INT, MPI_MAX, handle_->comm), "MPI_Allreduce");
  return flag != 0;
}

}  // namespace cfm::parallel
