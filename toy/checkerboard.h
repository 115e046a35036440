#pragma once
// The 2-D checkerboard of the paper's figures 4 and 9 [arXiv:2210.02747v2], whose size it does not print: that of
// facebookresearch/flow_matching's example. Uniform on every second square of a board of 4 x 4, centred on 0; a square
// is 1/0.45 wide, those are taken whose column and row numbers (floor of the coordinate over the width) add up to an
// even number. In columns and rows alike the standard deviation is 2.57.

#include <ATen/core/Tensor.h>

namespace cfm::toy {

inline constexpr double kSquareWidth = 1 / 0.45;

// u [B,2], uniform on [0,1)^2, to points [B,2] of the checkerboard, in u's dtype. Keeps measure: points are uniform.
at::Tensor checkerboard_points(const at::Tensor& u);

// The density's entropy, which is -log p of every point of it: ln of eight squares' area, in nats.
double checkerboard_entropy();

}  // namespace cfm::toy
