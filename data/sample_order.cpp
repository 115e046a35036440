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

std::vector<uint32_t> permutation(uint64_t seed, uint64_t epoch, int64_t n, int64_t group) {
  return permutation(Stream{seed, Purpose::kPermutation, (static_cast<uint64_t>(group) << 32) + epoch}, n);
}

Slots part_of(int64_t count, int64_t i, int64_t n) { return {i * count / n, (i + 1) * count / n}; }

SampleOrder::SampleOrder(uint64_t seed, int64_t images, int64_t groups)
    : seed_(seed), images_(images), groups_(groups) {
  check(images > 0, "the order of " + std::to_string(images) + " images: expected at least one.");
  check(groups >= 1 && groups <= images, "--data_groups=" + std::to_string(groups) + ": expected 1 to " +
                                             std::to_string(images) + ", the number of images.");
}

std::shared_ptr<const std::vector<uint32_t>> SampleOrder::epoch(int64_t group, int64_t number) {
  const std::lock_guard lock(mutex_);
  Epoch(&known)[2] = recent_[group].epochs;
  for (const Epoch& one : known)
    if (one.number == number) return one.order;
  Epoch& oldest = known[known[0].number <= known[1].number ? 0 : 1];
  oldest.order = std::make_shared<const std::vector<uint32_t>>(
      permutation(seed_, static_cast<uint64_t>(number), part_of(images_, group, groups_).count(), group));
  oldest.number = number;
  return oldest.order;
}

// Positions first .. first + count - 1 of a group's own order.
void SampleOrder::append(std::vector<int64_t>& indices, int64_t group, int64_t first, int64_t count) {
  const Slots images = part_of(images_, group, groups_);
  for (int64_t position = first; position < first + count;) {
    const auto order = epoch(group, position / images.count());
    const int64_t begin = position % images.count();
    const int64_t end = std::min(images.count(), begin + first + count - position);
    for (int64_t i = begin; i < end; ++i) indices.push_back(images.first + (*order)[static_cast<size_t>(i)]);
    position += end - begin;
  }
}

std::vector<int64_t> SampleOrder::indices(int64_t images_seen, int64_t global_batch, Slots slots) {
  std::vector<int64_t> indices;
  indices.reserve(static_cast<size_t>(slots.count()));
  const int64_t of_group = global_batch / groups_;  // slots of a step
  for (int64_t slot = slots.first; slot < slots.last;) {
    const int64_t group = slot / of_group, end = std::min(slots.last, (group + 1) * of_group);
    append(indices, group, images_seen / groups_ + slot % of_group, end - slot);
    slot = end;
  }
  return indices;
}

Slots slots_of_rank(int64_t global_batch, int rank, int size) { return part_of(global_batch, rank, size); }

std::vector<Slots> micro_batches(Slots slots, int64_t micro_batch) {
  const int64_t count = slots.count();
  const int64_t pieces = micro_batch <= 0 ? 1 : std::max<int64_t>(1, (count + micro_batch - 1) / micro_batch);
  std::vector<Slots> result;
  for (int64_t piece = 0; piece < pieces; ++piece)
    result.push_back({slots.first + piece * count / pieces, slots.first + (piece + 1) * count / pieces});
  return result;
}

namespace {

// "1, 2, 4, 8": the divisors of n that are multiples of `of` and at most `most`, the largest ones if there are many.
std::string divisors(int64_t n, int64_t of, int64_t most) {
  std::vector<int64_t> found;
  const auto add = [&](int64_t d) {
    if (d % of == 0 && d <= most) found.push_back(d);
  };
  for (int64_t d = 1; d * d <= n; ++d) {
    if (n % d != 0) continue;
    add(d);
    if (d * d != n) add(n / d);
  }
  if (found.empty()) return "none";
  std::ranges::sort(found);
  constexpr size_t kShown = 12;
  std::string text = found.size() > kShown ? "..., " : "";
  for (size_t i = found.size() > kShown ? found.size() - kShown : 0; i < found.size(); ++i)
    text += std::to_string(found[i]) + (i + 1 < found.size() ? ", " : "");
  return text;
}

}  // namespace

Problems group_problems(int64_t groups, int64_t global_batch, int64_t images, int64_t images_seen,
                        const std::vector<int>& ranks_by_node) {
  if (groups == 1) return {};
  Problems problems;
  const auto nodes = static_cast<int64_t>(ranks_by_node.size());
  const std::string flag = "--data_groups=" + std::to_string(groups);
  if (groups < 1 || groups > images) return {flag + ": expected 1 to " + std::to_string(images) + ", the images."};
  if (groups % nodes != 0)
    problems.push_back(flag + " cannot be dealt to " + std::to_string(nodes) +
                       " nodes: each must have as many. Legal numbers of nodes: " + divisors(groups, 1, groups) + ".");
  if (global_batch % groups != 0)
    problems.push_back(
        flag + " does not divide --global_batch=" + std::to_string(global_batch) +
        ". Take a multiple of it for the batch (a run keeps the groups it began with), or, in a new run, " +
        "another number of groups; legal for " + std::to_string(nodes) + (nodes == 1 ? " node: " : " nodes: ") +
        divisors(global_batch, nodes, images) + ".");
  if (images_seen % groups != 0)
    problems.push_back(flag + " does not divide the " + std::to_string(images_seen) +
                       " images that the run has seen: it was made with other groups.");
  const auto [least, most] = std::ranges::minmax_element(ranks_by_node);
  if (*least != *most)
    problems.push_back(flag + ": nodes have " + std::to_string(*least) + " to " + std::to_string(*most) +
                       " ranks; expected as many on each. Legal with uneven nodes: --data_groups=1.");
  return problems;
}

}  // namespace cfm::data
