#include "flow/ode.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/full.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cmath>

#include "base/number_text.h"
#include "base/shape.h"

namespace cfm::flow {
namespace {

// x + h * sum over the first `stages` of weights[j] * k[j]: a new tensor, or x itself where there is nothing to add.
at::Tensor advanced(const at::Tensor& x, double h, const std::array<double, kMaxStages>& weights,
                    const std::array<at::Tensor, kMaxStages>& k, size_t stages) {
  at::Tensor y = x;
  for (size_t j = 0; j < stages; ++j) {
    if (weights[j] == 0) continue;
    y = y.is_same(x) ? x.add(k[j], h * weights[j]) : y.add_(k[j], h * weights[j]);
  }
  return y;
}

}  // namespace

Problems OdeConfig::validate(const std::string& steps_flag) const {
  Problems problems;
  const std::vector<std::string> names = solver_names();
  if (std::find(names.begin(), names.end(), solver) == names.end()) {
    std::string all;
    for (const std::string& name : names) all += (all.empty() ? "" : ", ") + name;
    problems.push_back("--solver=" + solver + ": there is no such solver. Choose one of " + all + ".");
  }
  if (steps < 1) problems.push_back(steps_flag + "=" + std::to_string(steps) + ": expected at least 1.");
  if (grid != "uniform" && grid != "warped") {
    problems.push_back("--grid=" + grid + ": there is no such grid. Choose one of uniform, warped.");
  }
  if (!(t_end > 0 && t_end <= 1)) problems.push_back("t_end is " + number_text(t_end) + ", expected 0 < t_end <= 1.");
  return problems;
}

std::vector<double> time_grid(const OdeConfig& config) {
  check_no_problems(config.validate());
  std::vector<double> times(static_cast<size_t>(config.steps) + 1);
  for (int i = 0; i <= config.steps; ++i) {
    const double share = static_cast<double>(i) / config.steps;
    times[static_cast<size_t>(i)] = config.t_end * (config.grid == "warped" ? 1 - (1 - share) * (1 - share) : share);
  }
  return times;
}

OdeResult integrate_fixed(const Velocity& v, const at::Tensor& x, const Tableau& method,
                          const std::vector<double>& times) {
  assert(!times.empty());
  const at::NoGradGuard no_gradients;
  OdeResult result{x, 0};
  for (size_t step = 0; step + 1 < times.size(); ++step) {
    const double t = times[step], h = times[step + 1] - t;
    std::array<at::Tensor, kMaxStages> k;
    for (size_t i = 0; i < method.stages; ++i) {
      // The end of a step is the grid's own value: t + h may round past t_end.
      const double t_i = method.c[i] == 1 ? times[step + 1] : t + method.c[i] * h;
      const at::Tensor x_i = advanced(result.x, h, method.a[i], k, i);
      k[i] = v(x_i, at::full({x.size(0)}, t_i, x.options()));
      check_shape(k[i], x.sizes().vec(), "the velocity");
      ++result.nfe;
    }
    result.x = advanced(result.x, h, method.b, k, method.stages);
  }
  return result;
}

}  // namespace cfm::flow
