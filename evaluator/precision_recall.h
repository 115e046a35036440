#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>

namespace cfm::evaluator {

struct PrecisionRecall {
  double precision = 0;  // share of the samples within a reference vector's neighbourhood
  double recall = 0;     // share of the reference vectors within a sample's
};

// A vector's neighbourhood is the ball that reaches to its k-th nearest of its own set, itself not counted; float64.
// [Kynkaanniemi et al., arXiv:1904.06991 eq. 1, 2; k = 3]. features: [n,d]. REQUIRES: n > k on both sides.
// `before_each`, if any, is called before the distances of a few hundred vectors to all of a set: what it throws ends
// the work.
PrecisionRecall precision_recall(const at::Tensor& samples, const at::Tensor& reference, int64_t k = 3,
                                 const std::function<void()>& before_each = nullptr);

}  // namespace cfm::evaluator
