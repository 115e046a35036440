#pragma once
// All-reduce whose bits depend on nothing but the values: every element is combined in rank order, wherever it lies in
// its buffer and however the buffer is cut. (A ring's order depends on an element's place, so it changes with the
// buckets.)

#include <mpi.h>

#include <cstdint>
#include <span>
#include <vector>

namespace cfm::parallel {

enum class Combine { kSum, kMean, kMin, kMax, kProduct };

// In place; collective; as many values on every rank. Slices go to their owners (Alltoallv), are combined there in rank
// order, and come back (Allgatherv): 2 (W-1)/W of the bytes leave each rank, as in a ring. NaN wins kMin and kMax.
// BFloat16 and Half are combined in float and rounded once. kMean of integers is refused by the callers. `scratch` is
// kept between calls. Instantiated for float, double, c10::BFloat16, c10::Half, int64_t, int32_t, int8_t, uint8_t.
// Throws Error.
template <typename T>
void reduce_in_rank_order(std::span<T> values, Combine combine, MPI_Comm comm, std::vector<T>& scratch);

}  // namespace cfm::parallel
