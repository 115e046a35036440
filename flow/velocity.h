#pragma once
// The frame of everything in flow/ (Lipman et al., arXiv:2210.02747v2): t = 0 is noise, t = 1 is data. x1 data and
// x0 = epsilon ~ N(0, I) are [B,C,H,W]; a Gaussian path is x = alpha(t) x1 + sigma(t) epsilon, its velocity
// u = alpha'(t) x1 + sigma'(t) epsilon, derivatives in this t. d = C*H*W.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <span>

namespace cfm::flow {

// v(x, t): x [B,...] and t [B] (float64, on x's device) to the velocity [B,...], in x's dtype.
using Velocity = std::function<at::Tensor(const at::Tensor& x, const at::Tensor& t)>;

// The same where each row belongs to a sample (an image): labels follow it, wherever its row is. samples: B numbers.
using SampleVelocity =
    std::function<at::Tensor(const at::Tensor& x, const at::Tensor& t, std::span<const int64_t> samples)>;

}  // namespace cfm::flow
