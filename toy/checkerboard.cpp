#include "toy/checkerboard.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/floor.h>
#include <ATen/ops/remainder.h>
#include <ATen/ops/stack.h>

#include <cmath>

#include "base/shape.h"

namespace cfm::toy {

at::Tensor checkerboard_points(const at::Tensor& u) {
  check_shape(u, {-1, 2}, "u");
  const at::Tensor x = 4 * u.select(1, 0) - 2;                  // in squares: [-2, 2)
  const at::Tensor pair = 2 * u.select(1, 1);                   // which of a column's two squares, and where in it
  const at::Tensor lower = pair + at::floor(pair) - 2;          // [-2, -1) or [0, 1): those of an even column
  const at::Tensor y = lower + at::remainder(at::floor(x), 2);  // an odd column's are one higher
  return at::stack({x, y}, 1) * kSquareWidth;
}

double checkerboard_entropy() { return std::log(8 * kSquareWidth * kSquareWidth); }

}  // namespace cfm::toy
