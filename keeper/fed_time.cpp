#include "keeper/fed_time.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cos.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/sin.h>

#include <cmath>

#include "base/number_text.h"

namespace cfm::keeper {

at::Tensor fed_by_t(const at::Tensor& weight, double time_scale, bool reversed, double shift) {
  if (!reversed && shift == 0) return weight.to(at::kFloat);
  const int64_t half = weight.size(1) / 2;
  // As the network has them: rounded to float32.
  const at::Tensor frequencies =
      at::exp(at::arange(half, at::kFloat) * (-std::log(10000.0) / static_cast<double>(half))).to(at::kDouble);
  // s = a + d (time_scale t): cos(f s) = cos(f a) c - d sin(f a) z, sin(f s) = sin(f a) c + d cos(f a) z with
  // c = cos(f time_scale t), z = sin(f time_scale t).
  const double a = (reversed ? time_scale : 0) + shift, d = reversed ? -1 : 1;
  const at::Tensor cos = at::cos(frequencies * a), sin = at::sin(frequencies * a);
  const at::Tensor wide = weight.to(at::kDouble);
  const at::Tensor of_cos = wide.narrow(1, 0, half), of_sin = wide.narrow(1, half, half);
  return at::cat({of_cos * cos + of_sin * sin, (of_sin * cos - of_cos * sin) * d}, 1).to(at::kFloat);
}

std::string fed_time_text(double time_scale, bool reversed, double shift) {
  const std::string shown = shift == 0 ? "" : (shift < 0 ? " - " : " + ") + number_text(std::abs(shift));
  return number_text(time_scale) + (reversed ? " (1 - t)" : " t") + shown;
}

}  // namespace cfm::keeper
