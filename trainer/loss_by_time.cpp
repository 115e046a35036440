#include "trainer/loss_by_time.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/where.h>

#include <algorithm>

namespace cfm::trainer {

at::Tensor losses_by_time(const at::Tensor& losses, const at::Tensor& t, double t_end) {
  const auto options = at::TensorOptions(losses.device()).dtype(at::kDouble);
  const at::Tensor bin = (t.to(at::kDouble) / t_end * kTimeBins).floor().clamp(0, kTimeBins - 1);  // [B]
  const at::Tensor is_in = bin.unsqueeze(1) == at::arange(kTimeBins, options);                     // [B,bins]
  // Chosen, not multiplied by 0: a loss that is no number stays in its own bin.
  const at::Tensor of_bin = at::where(is_in, losses.detach().to(at::kDouble).unsqueeze(1), 0.0);
  return at::stack({of_bin.sum(0), is_in.sum(0).to(at::kDouble)});
}

StepLosses on_host(const at::Tensor& loss_sum, const at::Tensor& by_time) {
  const at::Tensor all = at::cat({loss_sum.to(at::kDouble).view({1}), by_time.view({-1})}).to(at::kCPU);
  const double* const numbers = all.const_data_ptr<double>();
  StepLosses losses;
  losses.sum = numbers[0];
  std::copy_n(numbers + 1, kTimeBins, losses.by_time.begin());
  std::copy_n(numbers + 1 + kTimeBins, kTimeBins, losses.images.begin());
  return losses;
}

}  // namespace cfm::trainer
