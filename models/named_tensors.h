#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace cfm::models {

// Error unless all of its numbers are finite: `what` holds numbers that are not, and `advice`.
void check_finite(const std::string& what, const at::Tensor& tensor, const std::string& advice = "");

// `tensors` by name, if they are those of `shapes`, no more and no fewer. Throws Error naming the first that is
// missing, unexpected, of another shape, not of floating-point numbers, or not finite.
std::map<std::string, at::Tensor> tensors_as_expected(
    const std::vector<std::pair<std::string, at::Tensor>>& tensors,
    const std::vector<std::pair<std::string, std::vector<int64_t>>>& shapes);

}  // namespace cfm::models
