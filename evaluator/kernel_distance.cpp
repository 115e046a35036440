#include "evaluator/kernel_distance.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <cassert>
#include <cmath>
#include <numeric>
#include <utility>

namespace cfm::evaluator {
namespace {

at::Tensor kernel(const at::Tensor& x, const at::Tensor& y) {
  return (x.mm(y.t()) / static_cast<double>(x.size(1)) + 1).pow(3);
}

double sum_off_diagonal(const at::Tensor& x) {
  const at::Tensor values = kernel(x, x);
  return values.sum().item<double>() - values.trace().item<double>();
}

}  // namespace

std::vector<int64_t> keyed_subset(Stream stream, int64_t n, int64_t count) {
  assert(count >= 0 && count <= n && n < int64_t{1} << 32);
  std::vector<int64_t> numbers(static_cast<size_t>(n));
  std::iota(numbers.begin(), numbers.end(), int64_t{0});
  std::vector<uint32_t> words(static_cast<size_t>(2 * count));
  fill_bits(words, stream);
  for (int64_t i = 0; i < count; ++i) {
    // 64 bits modulo at most 2^32: no number is more likely than another by more than 2^-32 of its share.
    const auto word = static_cast<size_t>(2 * i);
    const uint64_t bits = uint64_t{words[word + 1]} << 32 | words[word];
    const int64_t other = i + static_cast<int64_t>(bits % static_cast<uint64_t>(n - i));
    std::swap(numbers[static_cast<size_t>(i)], numbers[static_cast<size_t>(other)]);
  }
  numbers.resize(static_cast<size_t>(count));
  return numbers;
}

double squared_discrepancy(const at::Tensor& x, const at::Tensor& y) {
  const auto m = static_cast<double>(x.size(0));
  assert(x.size(0) >= 2 && x.sizes() == y.sizes());
  const at::Tensor x_64 = x.to(at::kDouble), y_64 = y.to(at::kDouble);
  return (sum_off_diagonal(x_64) + sum_off_diagonal(y_64)) / (m * (m - 1)) -
         2 * kernel(x_64, y_64).sum().item<double>() / (m * m);
}

KernelDistance kernel_distance(const at::Tensor& samples, const at::Tensor& reference, uint64_t seed,
                               const KernelConfig& config, const std::function<void()>& before_each) {
  const int64_t subsets = config.subsets;
  const int64_t size = std::min({config.subset_size, samples.size(0), reference.size(0)});
  const auto subset = [&](const at::Tensor& features, int64_t number) {
    return features.index_select(
        0, at::tensor(keyed_subset({seed, Purpose::kKidSubset, static_cast<uint64_t>(number)}, features.size(0), size),
                      at::kLong));
  };
  std::vector<double> distances;
  for (int64_t i = 0; i < subsets; ++i) {
    if (before_each) before_each();
    distances.push_back(squared_discrepancy(subset(samples, 2 * i), subset(reference, 2 * i + 1)));
  }
  KernelDistance result{0, 0, subsets, size};
  const auto n = static_cast<double>(subsets);
  for (const double distance : distances) result.mean += distance / n;
  for (const double distance : distances) result.deviation += (distance - result.mean) * (distance - result.mean) / n;
  result.deviation = std::sqrt(result.deviation);
  return result;
}

}  // namespace cfm::evaluator
