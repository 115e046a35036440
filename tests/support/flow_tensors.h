#pragma once
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/tensor.h>

#include <random>
#include <vector>

namespace cfm::tests {

// Standard normals from the standard library's generator, float64: test data that our own generator has no part in.
inline at::Tensor some_normals(std::vector<int64_t> shape, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<double> normal;
  int64_t count = 1;
  for (const int64_t size : shape) count *= size;
  std::vector<double> values(static_cast<size_t>(count));
  for (double& value : values) value = normal(generator);
  return at::tensor(values, at::kDouble).view(shape);
}

inline double largest_difference(const at::Tensor& a, const at::Tensor& b) {
  return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}

}  // namespace cfm::tests
