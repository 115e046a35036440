#include "flow/trajectory.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/stack.h>

#include <algorithm>
#include <cassert>
#include <cmath>
#include <numeric>

#include "base/number_text.h"
#include "flow/draws.h"
#include "flow/solve.h"

namespace cfm::flow {
namespace {

// Of each recorded interval, the times of its steps: first and last are recorded, neighbours share one.
std::vector<std::vector<double>> intervals_of(const OdeConfig& ode, int intervals) {
  std::vector<std::vector<double>> parts;
  if (ode.adaptive()) {
    for (int i = 0; i < intervals; ++i)
      parts.push_back({ode.t_end * i / intervals, i + 1 == intervals ? ode.t_end : ode.t_end * (i + 1) / intervals});
    return parts;
  }
  const std::vector<double> grid = time_grid(ode);
  // The node nearest to each of the evenly spaced times; the two ends are nodes.
  auto from = grid.begin();
  for (int i = 1; i <= intervals; ++i) {
    const double time = ode.t_end * i / intervals;
    const auto nearest = std::min_element(
        grid.begin(), grid.end(), [time](double a, double b) { return std::abs(a - time) < std::abs(b - time); });
    const auto to = i == intervals ? grid.end() - 1 : nearest;
    if (to <= from) continue;
    parts.emplace_back(from, to + 1);
    from = to;
  }
  return parts;
}

// x [B,C,H,W] at times.front() to x at times.back().
at::Tensor advance(const Field& field, const OdeConfig& ode, const at::Tensor& x, const std::vector<int64_t>& samples,
                   const std::vector<double>& times) {
  if (!ode.adaptive()) return integrate_fixed(field, x, samples, tableau_named(ode.solver), times).x;
  OdeConfig part = ode;
  part.t_end = times.back();
  at::Tensor end = at::empty_like(x);
  size_t waiting = 0;
  const Queue queue{.next = [&]() -> std::optional<Start> {
                      if (waiting == samples.size()) return std::nullopt;
                      const int64_t sample = samples[waiting++];
                      return Start{sample, x[sample]};
                    },
                    .done = [&](const Solved& solved) { end[solved.sample].copy_(solved.x); }};
  solve(field, part, times.front(), times.back(), x.size(0), queue);
  return end;
}

}  // namespace

Trajectories trace_samples(const SampleVelocity& velocity, const SampleConfig& config, int64_t count, int intervals,
                           at::IntArrayRef image_shape, c10::Device device) {
  check_no_problems(config.validate());
  assert(count >= 1 && count <= config.net_batch && intervals >= 1);
  const Field field{[&](const Points& points, bool) {
    return Slope{velocity(points.x, points.t, points.samples), {}};
  }};
  std::vector<int64_t> samples(static_cast<size_t>(config.net_batch));
  std::iota(samples.begin(), samples.end(), 0);
  at::Tensor x =
      keyed_normal(config.seed, Purpose::kSampleNoise, 0, config.net_batch, image_shape).to(device) * config.sigma0;
  Trajectories traced{{0}, {}};
  std::vector<at::Tensor> states{x.narrow(0, 0, count).cpu()};
  for (const std::vector<double>& times : intervals_of(config.ode, intervals)) {
    x = advance(field, config.ode, x, samples, times);
    check(at::isfinite(x).all().item<bool>(),
          "the solution at t = " + number_text(times.back()) + " is not finite: are the weights?");
    traced.times.push_back(times.back());
    states.push_back(x.narrow(0, 0, count).cpu());
  }
  traced.x = at::stack(states, 1);
  return traced;
}

}  // namespace cfm::flow
