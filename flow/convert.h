#pragma once
// On a Gaussian path x = alpha x1 + sigma epsilon, each of velocity, noise, score and data says the others:
// u = alpha' x1 + sigma' epsilon, S = grad log p(x) = -epsilon/sigma. The same holds of their means given x, so of a
// network's estimates. All are [B,C,H,W] at x [B,C,H,W] and t [B]; they compute in x's dtype.

#include "flow/path.h"

namespace cfm::flow {

// v = (alpha'/alpha) x + (sigma' - sigma alpha'/alpha) epsilon: singular at t = 0 where alpha(0) = 0.
at::Tensor velocity_from_noise(const Path& path, const at::Tensor& x, const at::Tensor& noise, const at::Tensor& t);
// By epsilon = -sigma S.
at::Tensor velocity_from_score(const Path& path, const at::Tensor& x, const at::Tensor& score, const at::Tensor& t);
// conditional_velocity: singular where sigma is 0.
at::Tensor velocity_from_data(const Path& path, const at::Tensor& x, const at::Tensor& x1, const at::Tensor& t);

// epsilon = (alpha v - alpha' x)/(alpha sigma' - alpha' sigma)
at::Tensor noise_from_velocity(const Path& path, const at::Tensor& x, const at::Tensor& v, const at::Tensor& t);
// S = -epsilon/sigma
at::Tensor score_from_velocity(const Path& path, const at::Tensor& x, const at::Tensor& v, const at::Tensor& t);
// x1 = (sigma' x - sigma v)/(alpha sigma' - alpha' sigma)
at::Tensor data_from_velocity(const Path& path, const at::Tensor& x, const at::Tensor& v, const at::Tensor& t);

}  // namespace cfm::flow
