#pragma once
// How an ODE is solved, and the solution on a fixed grid; flow/adaptive.h has adaptive steps, flow/solve.h both for
// any number of samples.

#include <ATen/core/Tensor.h>

#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "flow/field.h"
#include "flow/tableau.h"
#include "flow/velocity.h"

namespace cfm::flow {

inline constexpr const char* kAdaptiveSolver = "dopri5";

struct OdeConfig {
  std::string solver = "midpoint";  // flow/tableau.h, on a fixed grid; or dopri5: Dormand-Prince 5(4), adaptive
  int steps = 50;
  // Fixed grids, times t_end: uniform: t = i/n; warped: t = 1 - (1 - i/n)^2; edm: t = 1 - s/(1 + s) at EDM's noise
  // levels s [arXiv:2206.00364 eq. 5; rho 7, 0.002 to 80]. They start at exactly 0 and end at exactly t_end.
  std::string grid = "uniform";
  double t_end = 1;
  // dopri5 alone: a step is taken if its error is at most atol + rtol |x|.
  double atol = 1e-5, rtol = 1e-5;
  // sample: each has its own steps, of lengths 2^(k/4); batch: all of a batch take the same, of any length, as
  // torchdiffeq.
  std::string step_control = "sample";
  std::string error_norm = "x_logp";  // x_logp: the larger of x's and log p's; x: of x alone
  int64_t max_nfe = 100000;           // evaluations a sample, then it is an Error

  bool adaptive() const { return solver == kAdaptiveSolver; }
  // Of adaptive steps: "2^(k/4)" or "any".
  std::string step_lengths() const { return step_control == "sample" ? "2^(k/4)" : "any"; }
  // Evaluations a sample takes on a fixed grid. REQUIRES: not adaptive, valid.
  int64_t fixed_nfe() const;
  // "dopri5, atol 1e-05, rtol 1e-05, ..." or "midpoint, 50 steps on the uniform grid".
  std::string text() const;
  // steps_flag: what the program calls `steps`.
  Problems validate(const std::string& steps_flag = "--steps") const;
};

// The times of the fixed grid: steps + 1 values, ascending.
std::vector<double> time_grid(const OdeConfig& config);

struct OdeResult {
  at::Tensor x;           // the state at the last time
  int64_t nfe = 0;        // calls of v per sample
  at::Tensor integral{};  // float64 [B]: of the field's rate over the times, along the solution; undefined without one
};

// Integrates dx/dt = v(x, t) over `times` (ascending or descending) from x at times.front(). Times and step sizes are
// float64, the state keeps x's dtype. A rate is asked for where its weight is not zero. Without gradients. Rows do not
// depend on one another, nor on their place, as far as the field's do not.
OdeResult integrate_fixed(const Field& field, const at::Tensor& x, std::span<const int64_t> samples,
                          const Tableau& method, const std::vector<double>& times);
OdeResult integrate_fixed(const Velocity& v, const at::Tensor& x, const Tableau& method,
                          const std::vector<double>& times);

}  // namespace cfm::flow
