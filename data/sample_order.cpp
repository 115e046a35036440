#include "data/sample_order.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <string>
#include <utility>

#include "base/error.h"

namespace cfm::data {
namespace {

// The words of a stream, one by one.
class Words {
 public:
  explicit Words(Stream stream) : stream_(stream) {}
  uint32_t next() {
    if (used_ == kBuffer) {
      fill_bits(buffer_, stream_, block_);
      block_ += kBuffer / 4;
      used_ = 0;
    }
    return buffer_[used_++];
  }
  // Uniform on 0..bound-1: the high word of word * bound, drawn again while the low word is among the 2^32 mod bound
  // first ones [arXiv:1805.10941].
  uint32_t below(uint32_t bound) {
    uint64_t product = uint64_t{next()} * bound;
    if (static_cast<uint32_t>(product) < bound) {
      const uint32_t excess = -bound % bound;
      while (static_cast<uint32_t>(product) < excess) product = uint64_t{next()} * bound;
    }
    return static_cast<uint32_t>(product >> 32);
  }

 private:
  static constexpr uint32_t kBuffer = 64;
  Stream stream_;
  std::array<uint32_t, kBuffer> buffer_{};
  uint32_t used_ = kBuffer, block_ = 0;
};

}  // namespace

std::vector<uint32_t> permutation(Stream stream, int64_t n) {
  check(n >= 0 && n < int64_t{1} << 32,
        "cannot shuffle " + std::to_string(n) + " images; a data set may have up to 2^32 - 1.");
  std::vector<uint32_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), 0U);
  Words words(stream);
  for (auto i = static_cast<uint32_t>(n); i > 1; --i) std::swap(order[i - 1], order[words.below(i)]);
  return order;
}

std::vector<uint32_t> permutation(uint64_t seed, uint64_t epoch, int64_t n) {
  return permutation(Stream{seed, Purpose::kPermutation, epoch}, n);
}

SampleOrder::SampleOrder(uint64_t seed, int64_t images) : seed_(seed), images_(images) {
  check(images > 0, "the order of " + std::to_string(images) + " images: expected at least one.");
}

std::shared_ptr<const std::vector<uint32_t>> SampleOrder::epoch(int64_t number) {
  const std::lock_guard lock(mutex_);
  for (const Epoch& known : recent_)
    if (known.number == number) return known.order;
  Epoch& oldest = recent_[recent_[0].number <= recent_[1].number ? 0 : 1];
  oldest.order =
      std::make_shared<const std::vector<uint32_t>>(permutation(seed_, static_cast<uint64_t>(number), images_));
  oldest.number = number;
  return oldest.order;
}

std::vector<int64_t> SampleOrder::indices(int64_t first, int64_t count) {
  std::vector<int64_t> indices;
  indices.reserve(static_cast<size_t>(count));
  for (int64_t position = first; position < first + count;) {
    const auto order = epoch(position / images_);
    const int64_t begin = position % images_;
    const int64_t end = std::min(images_, begin + first + count - position);
    indices.insert(indices.end(), order->begin() + begin, order->begin() + end);
    position += end - begin;
  }
  return indices;
}

Slots slots_of_rank(int64_t global_batch, int rank, int size) {
  return {rank * global_batch / size, (rank + 1) * global_batch / size};
}

std::vector<Slots> micro_batches(Slots slots, int64_t micro_batch) {
  const int64_t count = slots.count();
  const int64_t pieces = micro_batch <= 0 ? 1 : std::max<int64_t>(1, (count + micro_batch - 1) / micro_batch);
  std::vector<Slots> result;
  for (int64_t piece = 0; piece < pieces; ++piece)
    result.push_back({slots.first + piece * count / pieces, slots.first + (piece + 1) * count / pieces});
  return result;
}

}  // namespace cfm::data
