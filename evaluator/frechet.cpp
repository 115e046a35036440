#include "evaluator/frechet.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/linalg_cholesky_ex.h>
#include <ATen/ops/linalg_eigh.h>
#include <ATen/ops/linalg_eigvalsh.h>

#include <limits>

#include "base/shape.h"

namespace cfm::evaluator {
namespace {

// Eigenvalues below this are rounding: d units in the last place of the largest.
double rounding_of(const at::Tensor& eigenvalues) {
  return static_cast<double>(eigenvalues.numel()) * std::numeric_limits<double>::epsilon() *
         eigenvalues.max().item<double>();
}

// A factor F with F F^T = the covariance.
at::Tensor factor_of(const at::Tensor& covariance) {
  const auto [lower, info] = at::linalg_cholesky_ex(covariance);
  if (info.item<int>() == 0) return lower;
  const auto [values, vectors] = at::linalg_eigh(covariance);
  return vectors * values.clamp_min(0).sqrt();
}

}  // namespace

double frechet_distance(const Gaussian& a, const Gaussian& b) {
  const int64_t d = a.mean.size(0);
  check_shape(b.mean, {d}, "the second mean");
  check_shape(a.covariance, {d, d}, "the first covariance");
  check_shape(b.covariance, {d, d}, "the second covariance");
  const at::Tensor factor = factor_of(a.covariance);
  const at::Tensor product = factor.t().mm(b.covariance).mm(factor);
  const at::Tensor values = at::linalg_eigvalsh((product + product.t()) / 2);
  const double root_trace = (values * values.gt(rounding_of(values))).sqrt().sum().item<double>();
  const double traces = (a.covariance.trace() + b.covariance.trace()).item<double>();
  return (a.mean - b.mean).square().sum().item<double>() + traces - 2 * root_trace;
}

}  // namespace cfm::evaluator
