#include "base/shape.h"

#include "base/error.h"

namespace cfm {

std::string shape_text(at::IntArrayRef shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i ? "," : "") + std::to_string(shape[i]);
  return text + "]";
}

void check_shape(const at::Tensor& x, const std::vector<int64_t>& expected, const std::string& name) {
  bool ok = x.defined() && x.dim() == static_cast<int64_t>(expected.size());
  for (size_t i = 0; ok && i < expected.size(); ++i)
    ok = expected[i] == -1 || x.size(static_cast<int64_t>(i)) == expected[i];
  if (!ok) {
    throw Error(name + " has shape " + (x.defined() ? shape_text(x.sizes()) : "(undefined)") + ", expected " +
                shape_text(expected) + " (-1: any)");
  }
}

}  // namespace cfm
