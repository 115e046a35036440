#include "evaluator/inception_score.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/log_softmax.h>

#include <algorithm>
#include <cassert>
#include <cmath>
#include <vector>

namespace cfm::evaluator {
namespace {

double score_of(const at::Tensor& logits) {
  const at::Tensor log_p = at::log_softmax(logits.to(at::kDouble), 1);
  const at::Tensor p = log_p.exp();
  // Where a class has probability 0 in every image, log 0 meets p = 0: such a class adds nothing.
  const at::Tensor log_mean = p.mean(0, /*keepdim=*/true).log();
  const at::Tensor terms = (p * (log_p - log_mean)).nan_to_num(0, 0, 0);
  return std::exp(terms.sum(1).mean().item<double>());
}

ScoreOverSplits over(const std::vector<double>& scores) {
  ScoreOverSplits result{0, 0, static_cast<int64_t>(scores.size())};
  const auto n = static_cast<double>(scores.size());
  for (const double score : scores) result.mean += score / n;
  for (const double score : scores) result.deviation += (score - result.mean) * (score - result.mean) / n;
  result.deviation = std::sqrt(result.deviation);
  return result;
}

}  // namespace

ScoreOverSplits inception_score(const at::Tensor& logits, int64_t splits) {
  const int64_t n = logits.size(0);
  assert(splits >= 1 && splits <= n);
  std::vector<double> scores;
  for (int64_t i = 0; i < splits; ++i) {
    const int64_t first = i * n / splits, last = (i + 1) * n / splits;
    scores.push_back(score_of(logits.narrow(0, first, last - first)));
  }
  return over(scores);
}

ScoreOverSplits inception_score_by_size(const at::Tensor& logits, int64_t size) {
  assert(size >= 1);
  std::vector<double> scores;
  for (int64_t first = 0; first < logits.size(0); first += size)
    scores.push_back(score_of(logits.narrow(0, first, std::min(size, logits.size(0) - first))));
  return over(scores);
}

}  // namespace cfm::evaluator
