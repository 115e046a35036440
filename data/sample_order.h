#pragma once
// The order of samples is a function. Slot j of a step is global position g = images_seen + j; epoch = g div N;
// index = permutation(seed, epoch)[g mod N]. It knows no rank, world size or batch size.

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "base/philox.h"

namespace cfm::data {

// Fisher-Yates over 0..n-1 with a stream's bits, unbiased (rejection). n below 2^32.
std::vector<uint32_t> permutation(Stream stream, int64_t n);

// The permutation of an epoch: that of the stream (seed, kPermutation, epoch).
std::vector<uint32_t> permutation(uint64_t seed, uint64_t epoch, int64_t n);

class SampleOrder {
 public:
  SampleOrder(uint64_t seed, int64_t images);
  // Indices of positions first .. first + count - 1. Keeps the last two epochs' permutations. Thread-safe.
  std::vector<int64_t> indices(int64_t first, int64_t count);

 private:
  uint64_t seed_;
  int64_t images_;
  std::mutex mutex_;
  struct Epoch {
    int64_t number = -1;
    std::shared_ptr<const std::vector<uint32_t>> order;
  };
  Epoch recent_[2];
  std::shared_ptr<const std::vector<uint32_t>> epoch(int64_t number);
};

// Rank r of W takes slots [floor(rG/W), floor((r+1)G/W)) of a global batch of G.
struct Slots {
  int64_t first, last;
  int64_t count() const { return last - first; }
};
Slots slots_of_rank(int64_t global_batch, int rank, int size);

// The rank's slots in `micro_batch`-sized pieces (0: one piece), as even as can be: the largest and the smallest differ
// by at most one.
std::vector<Slots> micro_batches(Slots slots, int64_t micro_batch);

}  // namespace cfm::data
