#include "flow/ode.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cmath>

#include "base/number_text.h"
#include "base/shape.h"

namespace cfm::flow {
namespace {

constexpr std::array<const char*, 3> kGrids{"uniform", "warped", "edm"};

template <typename Names>
std::string listed(const Names& names) {
  std::string all;
  for (const auto& name : names) all += (all.empty() ? "" : ", ") + std::string(name);
  return all;
}

template <typename Names>
bool contains(const Names& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// Node i of EDM's n + 1 on [0,1], its first replaced by 0: noise levels s_0 = 80 .. s_(n-1) = 0.002, s_n = 0.
double edm_node(int i, int n) {
  constexpr double kRho = 7, kLargest = 80, kSmallest = 0.002;
  if (i == 0) return 0;
  if (i == n) return 1;
  const double from = std::pow(kLargest, 1 / kRho), to = std::pow(kSmallest, 1 / kRho);
  const double s = std::pow(from + static_cast<double>(i) / (n - 1) * (to - from), kRho);
  return 1 - s / (1 + s);
}

double node(const std::string& grid, int i, int n) {
  const double share = static_cast<double>(i) / n;
  if (grid == "edm") return edm_node(i, n);
  return grid == "warped" ? 1 - (1 - share) * (1 - share) : share;
}

// x + h * sum over the first `stages` of weights[j] * k[j]: a new tensor, or x itself where there is nothing to add.
// Products are rounded before they are added: a fused multiply-add would be used for some elements and not for others,
// by their place.
at::Tensor advanced(const at::Tensor& x, double h, const std::array<double, kMaxStages>& weights,
                    const std::array<at::Tensor, kMaxStages>& k, size_t stages) {
  at::Tensor y = x;
  for (size_t j = 0; j < stages; ++j) {
    if (weights[j] == 0) continue;
    const at::Tensor part = k[j].mul(h * weights[j]);
    y = y.is_same(x) ? x.add(part) : y.add_(part);
  }
  return y;
}

Problems adaptive_problems(const OdeConfig& config) {
  Problems problems;
  const auto tolerance = [&](const char* flag, double value) {
    if (!(value >= 0 && value < 1))
      problems.push_back(std::string(flag) + "=" + number_text(value) + ": expected 0 to 1, for example 1e-5.");
  };
  tolerance("--atol", config.atol);
  tolerance("--rtol", config.rtol);
  if (config.atol == 0)
    problems.emplace_back(
        "--atol=0: log p starts at 0, and pixels pass through 0: an error relative to nothing is never small enough. "
        "Give "
        "a small one, for example 1e-9.");
  if (config.step_control != "sample" && config.step_control != "batch")
    problems.push_back("--step_control=" + config.step_control + ": expected sample or batch.");
  if (config.error_norm != "x_logp" && config.error_norm != "x")
    problems.push_back("--error_norm=" + config.error_norm + ": expected x_logp or x.");
  if (config.max_nfe < 8)
    problems.push_back("--max_nfe=" + number_text(config.max_nfe) + ": one step of dopri5 takes 8 evaluations.");
  return problems;
}

Problems fixed_problems(const OdeConfig& config, const std::string& steps_flag) {
  Problems problems;
  if (!contains(solver_names(), config.solver)) {
    problems.push_back("--solver=" + config.solver + ": there is no such solver. Choose one of " +
                       listed(solver_names()) + " (fixed grids), or " + kAdaptiveSolver + " (adaptive).");
  }
  if (config.steps < 1) problems.push_back(steps_flag + "=" + std::to_string(config.steps) + ": expected at least 1.");
  if (!contains(kGrids, config.grid)) {
    problems.push_back("--grid=" + config.grid + ": there is no such grid. Choose one of " + listed(kGrids) + ".");
  }
  return problems;
}

}  // namespace

int64_t OdeConfig::fixed_nfe() const { return static_cast<int64_t>(tableau_named(solver).stages) * steps; }

std::string OdeConfig::text() const {
  if (!adaptive()) return solver + ", " + std::to_string(steps) + " steps on the " + grid + " grid";
  return solver + ", atol " + number_text(atol) + ", rtol " + number_text(rtol) + ", steps of each " + step_control +
         ", error norm " + error_norm;
}

Problems OdeConfig::validate(const std::string& steps_flag) const {
  Problems problems = adaptive() ? adaptive_problems(*this) : fixed_problems(*this, steps_flag);
  if (!(t_end > 0 && t_end <= 1)) problems.push_back("t_end is " + number_text(t_end) + ", expected 0 < t_end <= 1.");
  return problems;
}

std::vector<double> time_grid(const OdeConfig& config) {
  check_no_problems(config.validate());
  assert(!config.adaptive());
  std::vector<double> times(static_cast<size_t>(config.steps) + 1);
  for (int i = 0; i <= config.steps; ++i) {
    times[static_cast<size_t>(i)] = config.t_end * node(config.grid, i, config.steps);
  }
  return times;
}

OdeResult integrate_fixed(const Field& field, const at::Tensor& x, std::span<const int64_t> samples,
                          const Tableau& method, const std::vector<double>& times) {
  assert(!times.empty());
  const at::NoGradGuard no_gradients;
  OdeResult result{x, 0};
  if (field.has_rate) result.integral = at::zeros({x.size(0)}, x.options().dtype(at::kDouble));
  for (size_t step = 0; step + 1 < times.size(); ++step) {
    const double t = times[step], h = times[step + 1] - t;
    std::array<at::Tensor, kMaxStages> k, rate;
    for (size_t i = 0; i < method.stages; ++i) {
      // The end of a step is the grid's own value: t + h may round past t_end.
      const double t_i = method.c[i] == 1 ? times[step + 1] : t + method.c[i] * h;
      const at::Tensor x_i = advanced(result.x, h, method.a[i], k, i);
      const at::Tensor t_B = at::full({x.size(0)}, t_i, x.options().dtype(at::kDouble));
      const Slope slope = field.at({x_i, t_B, samples}, field.has_rate && method.b[i] != 0);
      check_shape(slope.v, x.sizes().vec(), "the velocity");
      k[i] = slope.v;
      rate[i] = slope.rate;
      ++result.nfe;
    }
    result.x = advanced(result.x, h, method.b, k, method.stages);
    if (field.has_rate) result.integral = advanced(result.integral, h, method.b, rate, method.stages);
  }
  return result;
}

OdeResult integrate_fixed(const Velocity& v, const at::Tensor& x, const Tableau& method,
                          const std::vector<double>& times) {
  const Field field{[&v](const Points& points, bool) { return Slope{v(points.x, points.t), {}}; }};
  return integrate_fixed(field, x, {}, method, times);
}

}  // namespace cfm::flow
