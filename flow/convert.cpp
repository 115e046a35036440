#include "flow/convert.h"

#include <ATen/TensorOperators.h>

#include "base/shape.h"

namespace cfm::flow {
namespace {

at::Tensor sum(const at::Tensor& a, const at::Tensor& x, const at::Tensor& b, const at::Tensor& y) {
  check_shape(y, x.sizes().vec(), "what is converted");
  return factor_of(a, x) * x + factor_of(b, x) * y;
}

at::Tensor determinant(const Coefficients& at) { return at.alpha * at.sigma_rate - at.alpha_rate * at.sigma; }

}  // namespace

at::Tensor velocity_from_noise(const Path& path, const at::Tensor& x, const at::Tensor& noise, const at::Tensor& t) {
  const Coefficients at = coefficients(path, t);
  const at::Tensor growth = at.alpha_rate / at.alpha;
  return sum(growth, x, at.sigma_rate - at.sigma * growth, noise);
}

at::Tensor velocity_from_score(const Path& path, const at::Tensor& x, const at::Tensor& score, const at::Tensor& t) {
  return velocity_from_noise(path, x, -factor_of(coefficients(path, t).sigma, x) * score, t);
}

at::Tensor velocity_from_data(const Path& path, const at::Tensor& x, const at::Tensor& x1, const at::Tensor& t) {
  return conditional_velocity(path, x, x1, t);
}

at::Tensor noise_from_velocity(const Path& path, const at::Tensor& x, const at::Tensor& v, const at::Tensor& t) {
  const Coefficients at = coefficients(path, t);
  return sum(-at.alpha_rate / determinant(at), x, at.alpha / determinant(at), v);
}

at::Tensor score_from_velocity(const Path& path, const at::Tensor& x, const at::Tensor& v, const at::Tensor& t) {
  return noise_from_velocity(path, x, v, t) * factor_of(-1 / coefficients(path, t).sigma, x);
}

at::Tensor data_from_velocity(const Path& path, const at::Tensor& x, const at::Tensor& v, const at::Tensor& t) {
  const Coefficients at = coefficients(path, t);
  return sum(at.sigma_rate / determinant(at), x, -at.sigma / determinant(at), v);
}

}  // namespace cfm::flow
