#include "flow/solve.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/stack.h>

#include <algorithm>
#include <cassert>
#include <cmath>
#include <vector>

#include "base/number_text.h"
#include "flow/adaptive.h"

namespace cfm::flow {
namespace {

std::vector<double> times_between(const OdeConfig& config, double from, double to) {
  std::vector<double> times = time_grid(config);
  assert(std::min(from, to) == times.front() && std::max(from, to) == times.back());
  if (to < from) std::reverse(times.begin(), times.end());
  return times;
}

// Batch by batch; a short one is padded with copies of its first sample.
void solve_on_grid(const Field& field, const Tableau& method, const std::vector<double>& times, int64_t net_batch,
                   const Queue& queue) {
  const at::NoGradGuard no_gradients;
  for (;;) {
    std::vector<int64_t> samples;
    std::vector<at::Tensor> states;
    while (static_cast<int64_t>(samples.size()) < net_batch) {
      const std::optional<Start> start = queue.next();
      if (!start) break;
      samples.push_back(start->sample);
      states.push_back(start->x);
    }
    if (samples.empty()) return;
    const size_t count = samples.size();
    samples.resize(static_cast<size_t>(net_batch), samples.front());
    states.resize(static_cast<size_t>(net_batch), states.front());
    const OdeResult result = integrate_fixed(field, at::stack(states), samples, method, times);
    for (size_t r = 0; r < count; ++r) {
      const auto place = static_cast<int64_t>(r);
      const double integral = result.integral.defined() ? result.integral[place].item<double>() : 0;
      check(at::isfinite(result.x[place]).all().item<bool>() && std::isfinite(integral),
            "sample " + std::to_string(samples[r]) + ": the solution at t = " + number_text(times.back()) +
                " is not finite: are the weights?");
      queue.done({.sample = samples[r], .x = result.x[place].clone(), .integral = integral, .nfe = result.nfe});
    }
    if (static_cast<int64_t>(count) < net_batch) return;
  }
}

}  // namespace

void solve(const Field& field, const OdeConfig& config, double from, double to, int64_t net_batch, const Queue& queue) {
  check_no_problems(config.validate());
  assert(net_batch >= 1);
  if (config.adaptive()) {
    solve_adaptively(field, config, from, to, net_batch, queue);
  } else {
    solve_on_grid(field, tableau_named(config.solver), times_between(config, from, to), net_batch, queue);
  }
}

}  // namespace cfm::flow
