#include "flow/path.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/addcmul.h>
#include <ATen/ops/mse_loss.h>
#include <ATen/ops/sub.h>
#include <c10/core/ScalarType.h>

#include "base/number_text.h"
#include "base/shape.h"

namespace cfm::flow {

Problems OtPath::validate() const {
  if (sigma_min >= 0 && sigma_min < 1) return {};
  return {"--sigma_min=" + number_text(sigma_min) + ": expected 0 <= sigma_min < 1."};
}

PathSample OtPath::sample(const at::Tensor& x0, const at::Tensor& x1, const at::Tensor& t) const {
  check_shape(x0, x1.sizes().vec(), "x0");
  const at::Tensor t_B111 = over_images(t, x1);
  const at::Tensor sigma_B111 = 1 - (1 - sigma_min) * t_B111;
  return {at::addcmul(sigma_B111 * x0, t_B111, x1),  // eq. 22
          at::sub(x1, x0, 1 - sigma_min)};           // eq. 23
}

at::Tensor OtPath::conditional_velocity(const at::Tensor& x, const at::Tensor& x1, const at::Tensor& t) const {
  check_shape(x, x1.sizes().vec(), "x");
  return (x1 - (1 - sigma_min) * x) / (1 - (1 - sigma_min) * over_images(t, x));  // eq. 21
}

at::Tensor cfm_loss(const at::Tensor& v, const at::Tensor& u_t) {
  check_shape(v, u_t.sizes().vec(), "the velocity");
  const at::ScalarType wide = c10::promoteTypes(c10::promoteTypes(v.scalar_type(), u_t.scalar_type()), at::kFloat);
  return at::mse_loss(v.to(wide), u_t.to(wide), at::Reduction::None).flatten(1).mean(1);
}

at::Tensor over_images(const at::Tensor& t, const at::Tensor& x) {
  check_shape(t, {x.size(0)}, "t");
  std::vector<int64_t> shape(static_cast<size_t>(x.dim()), 1);
  shape[0] = x.size(0);
  return t.view(shape);
}

}  // namespace cfm::flow
