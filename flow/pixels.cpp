#include "flow/pixels.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/add.h>

#include "base/error.h"
#include "base/shape.h"

namespace cfm::flow {

at::Tensor to_model_space(const at::Tensor& bytes, const at::Tensor& u) {
  check_shape(u, bytes.sizes().vec(), "u");
  check(bytes.scalar_type() == at::kByte,
        "pixels have type " + std::string(c10::toString(bytes.scalar_type())) + ", expected Byte");
  const bool single = u.scalar_type() == at::kFloat;
  check(single || u.scalar_type() == at::kDouble,
        "u has type " + std::string(c10::toString(u.scalar_type())) + ", expected Float or Double");
  // u is cut to so many bits that x + u and y are exact: rounding would lift x + u to x + 1, another byte, where u is
  // near 1.
  const double parts = single ? 0x1p16 : 0x1p44;
  return at::add((u * parts).floor_(), bytes, parts).mul_(1 / (128 * parts)).sub_(1);
}

const Quantisation& quantisation(const std::string& name) {
  std::string names;
  for (const Quantisation& one : kQuantisations) {
    if (name == one.name) return one;
    names += (names.empty() ? "" : ", ") + std::string(one.name);
  }
  throw Error("--quantise=" + name + ": expected one of " + names + ".");
}

at::Tensor to_bytes(const at::Tensor& y, const Quantisation& by) {
  return ((y + by.before) * by.scale + by.after).floor_().clamp_(0, 255).to(at::kByte);
}

}  // namespace cfm::flow
