#pragma once
#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

namespace cfm {

// "[2,3,32,32]"
std::string shape_text(at::IntArrayRef shape);

// Throws Error naming `name`, found and expected shape, unless they agree; -1 in `expected` stands for any size.
void check_shape(const at::Tensor& x, const std::vector<int64_t>& expected, const std::string& name);

}  // namespace cfm
