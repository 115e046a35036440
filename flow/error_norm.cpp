#include "flow/error_norm.h"

#include <ATen/TensorOperators.h>

#include <cmath>

namespace cfm::flow {
namespace {

std::vector<double> to_host(const at::Tensor& values) {
  const at::Tensor host = values.to(at::kCPU, at::kDouble).contiguous();
  return {host.const_data_ptr<double>(), host.const_data_ptr<double>() + host.numel()};
}

// The values of `rows` become their mean; one that is not finite stays as it is, and out of the others'.
void pool(std::vector<double>& values, const std::vector<bool>& rows) {
  double sum = 0, count = 0;
  const auto counts = [&](size_t r) { return rows[r] && std::isfinite(values[r]); };
  for (size_t r = 0; r < values.size(); ++r) {
    if (!counts(r)) continue;
    sum += values[r];
    ++count;
  }
  for (size_t r = 0; r < values.size(); ++r)
    if (counts(r)) values[r] = sum / count;
}

}  // namespace

ErrorScales error_scales(const OdeConfig& config, const at::Tensor& x, const at::Tensor& integral) {
  const auto scale = [&](const at::Tensor& value) { return value.abs() * config.rtol + config.atol; };
  return {scale(x), integral.defined() ? scale(integral) : at::Tensor()};
}

std::vector<double> error_norms(const OdeConfig& config, const std::vector<bool>& rows, const ErrorScales& scales,
                                const at::Tensor& x, const at::Tensor& integral) {
  std::vector<double> squares = to_host((x / scales.x).to(at::kDouble).square().flatten(1).mean(1));
  std::vector<double> of_integral(squares.size());
  if (integral.defined() && config.error_norm == "x_logp") of_integral = to_host((integral / scales.integral).square());
  if (config.step_control == "batch") {
    pool(squares, rows);
    pool(of_integral, rows);
  }
  for (size_t r = 0; r < squares.size(); ++r) {
    const bool takes_x = squares[r] >= of_integral[r] || std::isnan(squares[r]);
    squares[r] = std::sqrt(takes_x ? squares[r] : of_integral[r]);
  }
  return squares;
}

}  // namespace cfm::flow
