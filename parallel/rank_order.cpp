#include "parallel/rank_order.h"

#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include <algorithm>
#include <array>
#include <type_traits>

#include "parallel/mpi_handle.h"

namespace cfm::parallel {
namespace {

// Keeps counts far below INT_MAX, and the scratch buffer small.
constexpr int64_t kChunkBytes = 16 << 20;
// Elements combined at a time: the running values stay in the first-level cache.
constexpr int64_t kBlock = 1024;

template <typename T>
using Accumulator = std::conditional_t<std::is_same_v<T, c10::BFloat16> || std::is_same_v<T, c10::Half>, float, T>;

template <typename T>
MPI_Datatype wire_type() {
  if constexpr (sizeof(T) == 8) return MPI_UINT64_T;
  if constexpr (sizeof(T) == 4) return MPI_UINT32_T;
  if constexpr (sizeof(T) == 2) return MPI_UINT16_T;
  return MPI_UINT8_T;
}

template <typename A>
bool is_nan(A a) {
  if constexpr (std::is_floating_point_v<A>) return a != a;
  return false;
}

// accumulated[k] = accumulated[k] (op) next[k] for k < n.
template <typename A, typename T>
void fold(A* accumulated, const T* next, int64_t n, Combine combine) {
  switch (combine) {
    case Combine::kSum:
    case Combine::kMean:
      for (int64_t k = 0; k < n; ++k) accumulated[k] += static_cast<A>(next[k]);
      return;
    case Combine::kProduct:
      for (int64_t k = 0; k < n; ++k) accumulated[k] *= static_cast<A>(next[k]);
      return;
    case Combine::kMin:
    case Combine::kMax:
      for (int64_t k = 0; k < n; ++k) {
        const A mine = accumulated[k], other = static_cast<A>(next[k]);
        const bool better = combine == Combine::kMin ? other < mine : other > mine;
        if (better || is_nan(other)) accumulated[k] = other;
      }
      return;
  }
}

// The slice that each rank owns of n elements.
struct Slices {
  std::vector<int> counts, offsets;
  Slices(int64_t n, int size) : counts(static_cast<size_t>(size)), offsets(static_cast<size_t>(size)) {
    for (int r = 0; r < size; ++r) {
      const auto i = static_cast<size_t>(r);
      offsets[i] = static_cast<int>(n * r / size);
      counts[i] = static_cast<int>(n * (r + 1) / size) - offsets[i];
    }
  }
};

// Combines my slice `own` with the slices that came from the other ranks: rank r's at received + r * n.
template <typename T>
void combine_slices(T* own, const T* received, int64_t n, int rank, int size, Combine combine) {
  std::array<Accumulator<T>, kBlock> accumulated;
  for (int64_t start = 0; start < n; start += kBlock) {
    const int64_t m = std::min(kBlock, n - start);
    const auto from = [&](int r) { return (r == rank ? own : received + r * n) + start; };
    std::copy_n(from(0), m, accumulated.begin());
    for (int r = 1; r < size; ++r) fold(accumulated.data(), from(r), m, combine);
    if (combine == Combine::kMean) {
      const auto divisor = static_cast<Accumulator<T>>(size);
      for (int64_t k = 0; k < m; ++k) accumulated[static_cast<size_t>(k)] /= divisor;
    }
    for (int64_t k = 0; k < m; ++k) own[start + k] = static_cast<T>(accumulated[static_cast<size_t>(k)]);
  }
}

template <typename T>
void reduce_chunk(T* values, int64_t n, Combine combine, MPI_Comm comm, std::vector<T>& scratch) {
  int rank = 0, size = 1;
  MPI_Comm_rank(comm, &rank);
  MPI_Comm_size(comm, &size);
  const auto me = static_cast<size_t>(rank);
  const Slices slices(n, size);
  const int owned = slices.counts[me];
  scratch.resize(std::max(scratch.size(), static_cast<size_t>(owned) * static_cast<size_t>(size)));

  // My own slice stays where it is.
  std::vector<int> send_counts = slices.counts, receive_counts(send_counts.size(), owned),
                   receive_offsets(send_counts.size());
  send_counts[me] = receive_counts[me] = 0;
  for (size_t r = 0; r < receive_offsets.size(); ++r) receive_offsets[r] = static_cast<int>(r) * owned;
  mpi_check(MPI_Alltoallv(values, send_counts.data(), slices.offsets.data(), wire_type<T>(), scratch.data(),
                          receive_counts.data(), receive_offsets.data(), wire_type<T>(), comm),
            "MPI_Alltoallv");
  combine_slices(values + slices.offsets[me], scratch.data(), owned, rank, size, combine);
  mpi_check(MPI_Allgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, values, slices.counts.data(), slices.offsets.data(),
                           wire_type<T>(), comm),
            "MPI_Allgatherv");
}

}  // namespace

template <typename T>
void reduce_in_rank_order(std::span<T> values, Combine combine, MPI_Comm comm, std::vector<T>& scratch) {
  constexpr int64_t kChunk = kChunkBytes / static_cast<int64_t>(sizeof(T));
  int size = 1;
  MPI_Comm_size(comm, &size);
  if (size == 1) return;
  const auto n = static_cast<int64_t>(values.size());
  for (int64_t start = 0; start < n; start += kChunk) {
    reduce_chunk(values.data() + start, std::min(kChunk, n - start), combine, comm, scratch);
  }
}

template void reduce_in_rank_order(std::span<float>, Combine, MPI_Comm, std::vector<float>&);
template void reduce_in_rank_order(std::span<double>, Combine, MPI_Comm, std::vector<double>&);
template void reduce_in_rank_order(std::span<c10::BFloat16>, Combine, MPI_Comm, std::vector<c10::BFloat16>&);
template void reduce_in_rank_order(std::span<c10::Half>, Combine, MPI_Comm, std::vector<c10::Half>&);
template void reduce_in_rank_order(std::span<int64_t>, Combine, MPI_Comm, std::vector<int64_t>&);
template void reduce_in_rank_order(std::span<int32_t>, Combine, MPI_Comm, std::vector<int32_t>&);
template void reduce_in_rank_order(std::span<int8_t>, Combine, MPI_Comm, std::vector<int8_t>&);
template void reduce_in_rank_order(std::span<uint8_t>, Combine, MPI_Comm, std::vector<uint8_t>&);

}  // namespace cfm::parallel
