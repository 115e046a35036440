#pragma once
#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "base/error.h"
#include "flow/tableau.h"
#include "flow/velocity.h"

namespace cfm::flow {

struct OdeConfig {
  std::string solver = "midpoint";  // flow/tableau.h
  int steps = 50;
  // uniform: t = i/n; warped: t = 1 - (1 - i/n)^2; both times t_end. Starts at exactly 0, ends at exactly t_end.
  std::string grid = "uniform";
  double t_end = 1;
  // steps_flag: what the program calls `steps`.
  Problems validate(const std::string& steps_flag = "--steps") const;
};

// The times of the fixed grid: steps + 1 values, ascending.
std::vector<double> time_grid(const OdeConfig& config);

struct OdeResult {
  at::Tensor x;     // the state at the last time
  int64_t nfe = 0;  // calls of v per sample
};

// Integrates dx/dt = v(x, t) over `times` (ascending or descending) from x at times.front(). Times and step sizes are
// float64, the state keeps x's dtype. Without gradients.
OdeResult integrate_fixed(const Velocity& v, const at::Tensor& x, const Tableau& method,
                          const std::vector<double>& times);

}  // namespace cfm::flow
