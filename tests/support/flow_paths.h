#pragma once
// The Gaussian paths as the paper prints them, in plain arithmetic: what the code's tensors are compared with.

#include <cmath>
#include <numbers>
#include <ostream>
#include <string>
#include <vector>

#include "flow/path.h"

namespace cfm::flow {

inline void PrintTo(const Path& path, std::ostream* out) { *out << path.path; }

}  // namespace cfm::flow

namespace cfm::tests {

inline double printed_alpha(const flow::Path& path, double t) {
  const double s = 1 - t;
  if (path.path == "vp") return std::exp(-0.5 * (s * path.vp_b0 + 0.5 * s * s * (path.vp_b1 - path.vp_b0)));
  if (path.path == "ve") return 1;
  if (path.path == "cosine") return std::sin(std::numbers::pi * t / 2);
  return path.path == "polynomial" ? std::pow(t, path.polynomial_n) : t;
}

inline double printed_sigma(const flow::Path& path, double t) {
  const double alpha = printed_alpha(path, t);
  if (path.path == "vp") return std::sqrt(1 - alpha * alpha);
  if (path.path == "ve") return path.ve_smin * std::pow(path.ve_smax / path.ve_smin, 1 - t);
  if (path.path == "cosine") return std::cos(std::numbers::pi * t / 2);
  return path.path == "polynomial" ? 1 - alpha : 1 - (1 - path.sigma_min) * t;
}

// Central difference of fourth order.
template <class Function>
double derivative(const Function& f, double x, double h = 1e-3) {
  return (8 * (f(x + h) - f(x - h)) - (f(x + 2 * h) - f(x - 2 * h))) / (12 * h);
}

// One of each kind, at the numbers that training uses.
inline std::vector<flow::Path> all_paths() {
  return {
      {.path = "ot"}, {.path = "vp"}, {.path = "ve"}, {.path = "cosine"}, {.path = "polynomial", .polynomial_n = 3}};
}

}  // namespace cfm::tests
