#pragma once
#include <ATen/core/Tensor.h>

#include "base/error.h"
#include "flow/velocity.h"

namespace cfm::flow {

// A point of a conditional path and its velocity there.
struct PathSample {
  at::Tensor x_t;  // [B,C,H,W]
  at::Tensor u_t;  // [B,C,H,W], the regression target
};

// The conditional optimal-transport path: alpha(t) = t, sigma(t) = 1 - (1 - sigma_min) t. [arXiv:2210.02747v2 eq. 20]
struct OtPath {
  double sigma_min = 1e-5;
  Problems validate() const;
  // x0, x1: [B,C,H,W]; t: [B].  x_t by eq. 22, u_t by eq. 23: never divides by sigma(t).
  PathSample sample(const at::Tensor& x0, const at::Tensor& x1, const at::Tensor& t) const;
  // u(x | x1) at x by eq. 21: singular at t = 1 when sigma_min = 0. For proofs; training uses sample().
  at::Tensor conditional_velocity(const at::Tensor& x, const at::Tensor& x1, const at::Tensor& t) const;
};

// Mean over C*H*W of (v - u)^2: [B], float32 or wider whatever v's dtype. [eq. 23]
at::Tensor cfm_loss(const at::Tensor& v, const at::Tensor& u_t);

// t [B] viewed as [B,1,1,1] (as many ones as x has further dimensions).
at::Tensor over_images(const at::Tensor& t, const at::Tensor& x);

}  // namespace cfm::flow
