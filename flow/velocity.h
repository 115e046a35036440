#pragma once
// The frame of everything in flow/ (Lipman et al., arXiv:2210.02747v2): t = 0 is noise, t = 1 is data. x1 data and
// x0 = epsilon ~ N(0, I) are [B,C,H,W]; a Gaussian path is x = alpha(t) x1 + sigma(t) epsilon, its velocity
// u = alpha'(t) x1 + sigma'(t) epsilon, derivatives in this t. d = C*H*W.

#include <ATen/core/Tensor.h>

#include <functional>

namespace cfm::flow {

// v(x, t): x [B,...] and t [B] (same dtype and device as x) to the velocity [B,...].
using Velocity = std::function<at::Tensor(const at::Tensor& x, const at::Tensor& t)>;

}  // namespace cfm::flow
