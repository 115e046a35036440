#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace cfm::models {

// `tensors` by name, if they are those of `shapes`, no more and no fewer. Throws Error naming the first that is
// missing, unexpected, of another shape, not of floating-point numbers, or not finite.
std::map<std::string, at::Tensor> tensors_as_expected(
    const std::vector<std::pair<std::string, at::Tensor>>& tensors,
    const std::vector<std::pair<std::string, std::vector<int64_t>>>& shapes);

}  // namespace cfm::models
