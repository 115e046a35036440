#pragma once
// Gaussian conditional paths x = alpha(t) x1 + sigma(t) epsilon, as data. Times are wanted in float64: then 1 - t,
// which vp and ve are written in, keeps eleven digits at the data, where float32 would keep three.

#include <ATen/core/Tensor.h>

#include <map>
#include <string>

#include "base/error.h"
#include "flow/velocity.h"

namespace cfm::flow {

// What `path` names, with s = 1 - t [arXiv:2210.02747v2; docs/equations.md]:
//   ot          t,                1 - (1 - sigma_min) t                     eq. 20
//   vp          exp(-T(s)/2),     sqrt(1 - exp(-T(s))), T = b0 s + (b1 - b0) s^2/2   eq. 18, app. E.1
//   ve          1,                smin (smax/smin)^s                        eq. 16; the widths are Song's
//   cosine      sin(pi t/2),      cos(pi t/2)
//   polynomial  t^n,              1 - t^n
struct Path {
  std::string path = "ot";
  double sigma_min = 1e-5;
  double vp_b0 = 0.1, vp_b1 = 20;
  double ve_smin = 0.02, ve_smax = 100;  // for pixels in [-1, 1]
  double polynomial_n = 2;
  Problems validate() const;
};

// "ot, vp, ve, cosine, polynomial"
const std::string& path_names();

// The numbers that `path.path` is made of, by name: {"sigma_min", "1e-05"} for ot, nothing for cosine.
std::map<std::string, std::string> path_parameters(const Path& path);
// Back from there. Throws Error for an unknown path, a missing or malformed number, or one that validate() refuses.
Path path_from(const std::string& name, const std::map<std::string, std::string>& parameters);

// Where the path ends: an ODE from noise to data stops here. 1, or 1 - 1e-5 for vp and ve, whose fields are singular at
// 1. Training draws times up to here.
double t_end(const Path& path);
// sigma(0): the width of the prior, whose mean is 0. smax for ve, 1 for the others.
double sigma0(const Path& path);

// alpha, sigma and their derivatives in t: float64 [B]. t: [B], t <= t_end.
struct Coefficients {
  at::Tensor alpha, sigma, alpha_rate, sigma_rate;
};
Coefficients coefficients(const Path& path, const at::Tensor& t);

// A point of a conditional path and its velocity there.
struct PathSample {
  at::Tensor x_t;  // [B,C,H,W]
  at::Tensor u_t;  // [B,C,H,W]
};

// x_t = alpha x1 + sigma x0, u_t = alpha' x1 + sigma' x0 [eq. 11, 15; eq. 22, 23 for ot]: never divides by sigma(t).
// x0, x1: [B,C,H,W]; t: [B]. Computes in x1's dtype.
PathSample sample_path(const Path& path, const at::Tensor& x0, const at::Tensor& x1, const at::Tensor& t);

// u(x | x1) = (sigma'/sigma) (x - alpha x1) + alpha' x1 at any x [eq. 15, which is 17, 19 and 21]. Singular where sigma
// is 0. For proofs; training uses sample_path.
at::Tensor conditional_velocity(const Path& path, const at::Tensor& x, const at::Tensor& x1, const at::Tensor& t);

// t [B] viewed as [B,1,1,1] (as many ones as x has further dimensions).
at::Tensor over_images(const at::Tensor& t, const at::Tensor& x);

// A coefficient [B] as a factor of x: over_images, in x's dtype.
at::Tensor factor_of(const at::Tensor& coefficient, const at::Tensor& x);

}  // namespace cfm::flow
