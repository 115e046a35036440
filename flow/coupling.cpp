#include "flow/coupling.h"

#include <algorithm>
#include <array>
#include <cassert>

#include "base/shape.h"
#include "flow/assignment.h"

namespace cfm::flow {
namespace {

constexpr int64_t kLanes = 16, kPiece = 512;

// In float32 over pieces of 512, the pieces in float64: a loop that vectorises, in an order of its own.
double inner_product(const float* a, const float* b, int64_t size) {
  double sum = 0;
  for (int64_t start = 0; start < size; start += kPiece) {
    const int64_t end = std::min(start + kPiece, size);
    std::array<float, kLanes> lanes{};
    int64_t i = start;
    for (; i + kLanes <= end; i += kLanes) {
      for (int64_t lane = 0; lane < kLanes; ++lane) lanes[static_cast<size_t>(lane)] += a[i + lane] * b[i + lane];
    }
    for (; i < end; ++i) lanes[0] += a[i] * b[i];
    for (const float lane : lanes) sum += lane;
  }
  return sum;
}

}  // namespace

Problems Coupling::validate() const {
  Problems problems;
  if (coupling != "independent" && coupling != "minibatch_ot") {
    problems.push_back("--coupling=" + coupling +
                       ": there is no such coupling. Choose one of independent, minibatch_ot.");
  }
  if (ot_block < 1) problems.push_back("--ot_block=" + std::to_string(ot_block) + ": expected at least 1.");
  return problems;
}

std::vector<StepSlots> blocks_of(const StepSlots& slots, int64_t ot_block) {
  assert(ot_block >= 1 && slots.first >= 0 && slots.first + slots.count <= slots.global_batch);
  std::vector<StepSlots> blocks;
  if (slots.count == 0) return blocks;
  for (int64_t first = slots.first / ot_block * ot_block; first < slots.first + slots.count; first += ot_block) {
    blocks.push_back({slots.images_seen, slots.global_batch, first, std::min(ot_block, slots.global_batch - first)});
  }
  return blocks;
}

std::vector<int64_t> minibatch_ot(const at::Tensor& x0, const at::Tensor& x1) {
  check_shape(x0, x1.sizes().vec(), "x0");
  const int64_t n = x1.size(0), d = n > 0 ? x1.numel() / n : 0;
  const at::Tensor noise = x0.contiguous(), images = x1.contiguous();
  const float* from = noise.const_data_ptr<float>();
  const float* to = images.const_data_ptr<float>();
  // |x1 - x0|^2 = |x1|^2 + |x0|^2 - 2 x1 x0: the norms add the same to every assignment.
  std::vector<double> cost(static_cast<size_t>(n * n));
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < n; ++j) cost[static_cast<size_t>(i * n + j)] = -inner_product(to + i * d, from + j * d, d);
  }
  return assign(cost, n);
}

}  // namespace cfm::flow
