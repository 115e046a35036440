#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "base/philox.h"

namespace cfm::evaluator {

// `count` different numbers of 0 .. n - 1, the first of a Fisher-Yates shuffle by the stream. REQUIRES: count <= n.
std::vector<int64_t> keyed_subset(Stream stream, int64_t n, int64_t count);

// The unbiased estimate of the squared maximum mean discrepancy of two sets of m vectors under the kernel
// (x.y / d + 1)^3. x, y: [m,d], m >= 2. float64. [Binkowski et al., arXiv:1801.01401 sec. 3]
double squared_discrepancy(const at::Tensor& x, const at::Tensor& y);

struct KernelConfig {
  int64_t subsets = 100, subset_size = 1000;  // torch-fidelity's
};

struct KernelDistance {
  double mean = 0, deviation = 0;  // over the subsets (the deviation divides by their number)
  int64_t subsets = 0, subset_size = 0;
};

// KID: over `subsets` pairs of subsets of `subset_size` vectors of each (fewer where there are fewer), drawn by key:
// (seed, kKidSubset, 2 i) for the samples' i-th, 2 i + 1 for the reference's. features: [n,d]. `before_each`, if any,
// is called before each pair: what it throws ends the work.
KernelDistance kernel_distance(const at::Tensor& samples, const at::Tensor& reference, uint64_t seed,
                               const KernelConfig& config = {}, const std::function<void()>& before_each = nullptr);

}  // namespace cfm::evaluator
