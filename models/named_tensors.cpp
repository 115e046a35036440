#include "models/named_tensors.h"

#include <ATen/ops/isfinite.h>

#include "base/error.h"
#include "base/shape.h"

namespace cfm::models {

void check_finite(const std::string& what, const at::Tensor& tensor, const std::string& advice) {
  check(at::isfinite(tensor).all().item<bool>(), what + " holds numbers that are not finite" + advice);
}

std::map<std::string, at::Tensor> tensors_as_expected(
    const std::vector<std::pair<std::string, at::Tensor>>& tensors,
    const std::vector<std::pair<std::string, std::vector<int64_t>>>& shapes) {
  std::map<std::string, at::Tensor> given(tensors.begin(), tensors.end()), known;
  for (const auto& [name, shape] : shapes) {
    const auto found = given.extract(name);
    check(!found.empty(), "tensor '" + name + "' " + shape_text(shape) + " is missing");
    const at::Tensor& tensor = found.mapped();
    check_shape(tensor, shape, "tensor '" + name + "'");
    check(tensor.is_floating_point(), "tensor '" + name + "' does not hold floating-point numbers");
    check_finite("tensor '" + name + "'", tensor);
    known[name] = tensor;
  }
  check(given.empty(), "tensor '" + (given.empty() ? "" : given.begin()->first) + "' is not expected");
  return known;
}

}  // namespace cfm::models
