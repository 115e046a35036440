#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace cfm::evaluator {

struct ScoreOverSplits {
  double mean = 0, deviation = 0;  // over the splits (the deviation divides by their number)
  int64_t splits = 0;
};

// exp of the mean over a split's images of KL(p(y|x) || p(y)), p(y) the split's mean, p = softmax(logits)
// [Salimans et al., arXiv:1606.03498]. float64. Splits are ranges of the images as they come, unshuffled.
// logits: [n,classes].

// `splits` of them: [i n / splits, (i + 1) n / splits), as torch-fidelity cuts. REQUIRES: 1 <= splits <= n.
ScoreOverSplits inception_score(const at::Tensor& logits, int64_t splits);

// Splits of `size` images, the last one shorter, as ADM's evaluator cuts (5,000).
ScoreOverSplits inception_score_by_size(const at::Tensor& logits, int64_t size);

}  // namespace cfm::evaluator
