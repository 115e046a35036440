#pragma once
// The order of samples is a function. Slot j of a step is global position g = images_seen + j; epoch = g div N;
// index = permutation(seed, epoch)[g mod N]. It knows no rank, world size or batch size.
//
// With C data groups the images are cut into C ranges, sizes within one of each other, and each range has its own
// permutations and epochs: group c owns slots [cG/C, (c+1)G/C) of a step, so a node can serve its groups' slots from
// its groups' images alone. The order depends on C, not on the number of nodes; C = 1 is the order above.

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "base/error.h"
#include "base/philox.h"

namespace cfm::data {

// Fisher-Yates over 0..n-1 with a stream's bits, unbiased (rejection). n below 2^32.
std::vector<uint32_t> permutation(Stream stream, int64_t n);

// The permutation of an epoch of a group: that of the stream (seed, kPermutation, group * 2^32 + epoch).
std::vector<uint32_t> permutation(uint64_t seed, uint64_t epoch, int64_t n, int64_t group = 0);

// Slots, or images, [first, last).
struct Slots {
  int64_t first, last;
  int64_t count() const { return last - first; }
};

// Part i of n of `count` things: [floor(i count/n), floor((i+1) count/n)).
Slots part_of(int64_t count, int64_t i, int64_t n);

class SampleOrder {
 public:
  // Throws Error unless 1 <= groups <= images.
  SampleOrder(uint64_t seed, int64_t images, int64_t groups = 1);
  // Indices of the images in `slots` of the step that starts at images_seen with a global batch of G. Keeps the last
  // two epochs' permutations of each group. Thread-safe. REQUIRES: groups divides G and images_seen.
  std::vector<int64_t> indices(int64_t images_seen, int64_t global_batch, Slots slots);

 private:
  uint64_t seed_;
  int64_t images_, groups_;
  std::mutex mutex_;
  struct Epoch {
    int64_t number = -1;
    std::shared_ptr<const std::vector<uint32_t>> order;
  };
  struct Recent {
    Epoch epochs[2];
  };
  std::map<int64_t, Recent> recent_;  // by group
  std::shared_ptr<const std::vector<uint32_t>> epoch(int64_t group, int64_t number);
  void append(std::vector<int64_t>& indices, int64_t group, int64_t first, int64_t count);
};

// Rank r of W takes slots [floor(rG/W), floor((r+1)G/W)) of a global batch of G.
Slots slots_of_rank(int64_t global_batch, int rank, int size);

// The rank's slots in `micro_batch`-sized pieces (0: one piece), as even as can be: the largest and the smallest differ
// by at most one.
std::vector<Slots> micro_batches(Slots slots, int64_t micro_batch);

// Why C groups cannot be dealt to M nodes at a global batch of G, each with the legal values: M must divide C, C must
// divide G and images_seen, every node must have as many ranks. Empty: they can. `ranks_by_node`: ranks of each node.
Problems group_problems(int64_t groups, int64_t global_batch, int64_t images, int64_t images_seen,
                        const std::vector<int>& ranks_by_node);

}  // namespace cfm::data
