#include "flow/adaptive.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cmath>
#include <vector>

#include "base/number_text.h"
#include "base/shape.h"
#include "flow/error_norm.h"
#include "flow/step_size.h"

namespace cfm::flow {
namespace {

// The calls of a step are its stages 1 to 6; stage 0 is the step before's stage 6. A new sample's first two
// evaluations take the places of the last two stages.
constexpr size_t kStages = kDopri5.stages, kFirstSlope = kStages - 2, kTrialSlope = kStages - 1;

enum class Phase { kIdle, kStarting, kRunning };

struct Row {
  Phase phase = Phase::kIdle;
  double t = 0;           // where x stands
  double h = 0;           // of the step under way, or of the trial step; > 0
  double slope_norm = 0;  // of a starting row: of dx/dt
  int64_t nfe = 0;
};

struct Task {
  const Field& field;
  const OdeConfig& config;
  double from, to;
  double sign() const { return to > from ? 1 : -1; }
  double left(const Row& row) const { return std::abs(to - row.t); }
  // A step that the controller asks for, as it is made.
  double made(const Row& row, double h) const {
    return std::min(config.step_control == "sample" ? on_ladder(h) : h, left(row));
  }
  // Where the step under way ends: `to` itself where it reaches that.
  double end_of_step(const Row& row) const { return row.h >= left(row) ? to : row.t + sign() * row.h; }
};

using PerStage = std::array<at::Tensor, kStages>;

struct Batch {
  std::vector<Row> rows;
  std::vector<int64_t> samples{};
  at::Tensor x{};         // [B,...]
  at::Tensor integral{};  // float64 [B]
  PerStage k{}, rate{};   // slopes and rates of the stages
  bool any(Phase phase) const {
    return std::any_of(rows.begin(), rows.end(), [&](const Row& row) { return row.phase == phase; });
  }
  std::vector<bool> in(Phase phase) const {
    std::vector<bool> chosen;
    for (const Row& row : rows) chosen.push_back(row.phase == phase);
    return chosen;
  }
};

// One number a row, in the dtype and on the device of `like`, to be multiplied with its rows.
at::Tensor per_row(const std::vector<double>& values, const at::Tensor& like) {
  std::vector<int64_t> shape(static_cast<size_t>(like.dim()), 1);
  shape[0] = like.size(0);
  return at::tensor(values, at::kDouble).to(like.options()).view(shape);
}

at::Tensor mask_of(const std::vector<bool>& chosen, const at::Tensor& like) {
  std::vector<double> values(chosen.begin(), chosen.end());
  return per_row(values, like) != 0;
}

// start + sum over j of h * weight(row, j) * slopes[j], row by row; an undefined start is none. Products are rounded
// before they are added, so that an element's bits do not depend on its place.
template <typename Weight>
at::Tensor combined(const Batch& batch, const at::Tensor& start, const PerStage& slopes, const Weight& weight) {
  at::Tensor sum = start;
  for (size_t j = 0; j < kStages; ++j) {
    std::vector<double> weights;
    for (const Row& row : batch.rows) weights.push_back(weight(row, j));
    if (std::all_of(weights.begin(), weights.end(), [](double w) { return w == 0; })) continue;
    const at::Tensor part = slopes[j] * per_row(weights, slopes[j]);
    sum = sum.defined() ? sum + part : part;
  }
  return sum;
}

// The points at which the rows are evaluated at this stage.
at::Tensor points_of(const Batch& batch, const Task& task, size_t stage) {
  return combined(batch, batch.x, batch.k, [&](const Row& row, size_t j) {
    if (row.phase == Phase::kRunning) return task.sign() * row.h * kDopri5.a[stage][j];
    const bool trial = row.phase == Phase::kStarting && stage == kTrialSlope && j == kFirstSlope;
    return trial ? task.sign() * row.h : 0;
  });
}

double time_of(const Row& row, const Task& task, size_t stage) {
  if (row.phase == Phase::kRunning)
    return kDopri5.c[stage] == 1 ? task.end_of_step(row) : row.t + task.sign() * kDopri5.c[stage] * row.h;
  return row.phase == Phase::kStarting && stage == kTrialSlope ? task.end_of_step(row) : row.t;
}

void evaluate(Batch& batch, const Task& task, const at::Tensor& points, size_t stage) {
  std::vector<double> times;
  for (Row& row : batch.rows) {
    times.push_back(time_of(row, task, stage));
    if (row.phase == Phase::kRunning || (row.phase == Phase::kStarting && stage >= kFirstSlope)) ++row.nfe;
  }
  const at::Tensor t = at::tensor(times, at::kDouble).to(points.device());
  const bool wants_rate = task.field.has_rate && (kDopri5.b[stage] != 0 || kDopri5Error[stage] != 0);
  const Slope slope = task.field.at({points, t, batch.samples}, wants_rate);
  check_shape(slope.v, points.sizes().vec(), "the velocity");
  batch.k[stage] = slope.v;
  if (wants_rate) batch.rate[stage] = slope.rate;
}

// Trial steps of the starting rows: from their state and their slope. [Hairer et al., II.4, a) and b)]
void choose_trial_steps(Batch& batch, const Task& task) {
  const ErrorScales scales = error_scales(task.config, batch.x, batch.integral);
  const std::vector<double> states =
      error_norms(task.config, batch.in(Phase::kStarting), scales, batch.x, batch.integral);
  const std::vector<double> slopes =
      error_norms(task.config, batch.in(Phase::kStarting), scales, batch.k[kFirstSlope], batch.rate[kFirstSlope]);
  for (size_t r = 0; r < batch.rows.size(); ++r) {
    Row& row = batch.rows[r];
    if (row.phase != Phase::kStarting) continue;
    row.slope_norm = slopes[r];
    check(std::isfinite(states[r]) && std::isfinite(slopes[r]),
          "sample " + std::to_string(batch.samples[r]) + ": the velocity or the state at t = " + number_text(row.t) +
              ", where the ODE starts, is not finite: are the weights?");
    row.h = std::min(trial_step(states[r], slopes[r]), task.left(row));
  }
}

at::Tensor difference(const at::Tensor& a, const at::Tensor& b) { return a.defined() ? a - b : at::Tensor(); }

// First steps of the starting rows: from the change of the slope over the trial step. [Hairer et al., II.4, c) to f)]
void choose_first_steps(Batch& batch, const Task& task) {
  const ErrorScales scales = error_scales(task.config, batch.x, batch.integral);
  const std::vector<double> changes = error_norms(task.config, batch.in(Phase::kStarting), scales,
                                                  difference(batch.k[kTrialSlope], batch.k[kFirstSlope]),
                                                  difference(batch.rate[kTrialSlope], batch.rate[kFirstSlope]));
  for (size_t r = 0; r < batch.rows.size(); ++r) {
    Row& row = batch.rows[r];
    if (row.phase != Phase::kStarting) continue;
    check(std::isfinite(changes[r]), "sample " + std::to_string(batch.samples[r]) +
                                         ": the velocity at t = " + number_text(task.end_of_step(row)) +
                                         ", near where the ODE starts, is not finite");
    row.h = task.made(row, first_step(row.h, row.slope_norm, changes[r] / row.h));
  }
}

// Takes or rejects the running rows' steps, and chooses their next ones.
std::vector<bool> judge(Batch& batch, const Task& task, const std::vector<double>& errors) {
  std::vector<bool> taken(batch.rows.size());
  for (size_t r = 0; r < batch.rows.size(); ++r) {
    Row& row = batch.rows[r];
    if (row.phase != Phase::kRunning) continue;
    const double end = task.end_of_step(row);
    const std::string where = "sample " + std::to_string(batch.samples[r]) + ", between t = " + number_text(row.t) +
                              " and " + number_text(end);
    check(std::isfinite(errors[r]), where + ": the solution is not finite any more");
    taken[r] = errors[r] <= 1;
    if (taken[r]) row.t = end;
    row.h = task.made(row, row.h * step_factor(errors[r]));
    if (row.t == task.to) continue;
    check(task.end_of_step(row) != row.t,
          where + ": the step size has become too small for the numbers; the tolerance cannot be met");
    check(row.nfe + static_cast<int64_t>(kStages) - 1 <= task.config.max_nfe,
          where + ": " + std::to_string(row.nfe) + " evaluations and not at the end; --max_nfe=" +
              std::to_string(task.config.max_nfe) + " allows no further step. Raise it, or --atol and --rtol");
  }
  return taken;
}

// Waiting samples take the idle rows. With step_control batch only when all rows are idle, and together.
void refill(Batch& batch, const Task& task, const Queue& queue) {
  if (task.config.step_control == "batch" && (batch.any(Phase::kRunning) || batch.any(Phase::kStarting))) return;
  for (size_t r = 0; r < batch.rows.size(); ++r) {
    if (batch.rows[r].phase != Phase::kIdle) continue;
    const std::optional<Start> start = queue.next();
    if (!start) return;
    if (!batch.x.defined()) {  // padding is a copy of the first sample
      const auto size = static_cast<int64_t>(batch.rows.size());
      std::vector<int64_t> repeats(static_cast<size_t>(start->x.dim()) + 1, 1);
      repeats[0] = size;
      batch.x = start->x.unsqueeze(0).repeat(repeats);
      batch.samples.assign(batch.rows.size(), start->sample);
      batch.k.fill(at::zeros_like(batch.x));
      if (task.field.has_rate) {
        batch.integral = at::zeros({size}, batch.x.options().dtype(at::kDouble));
        batch.rate.fill(at::zeros_like(batch.integral));
      }
    }
    const auto place = static_cast<int64_t>(r);
    batch.samples[r] = start->sample;
    batch.x[place].copy_(start->x);
    if (batch.integral.defined()) batch.integral[place].fill_(0);
    batch.rows[r] = {.phase = Phase::kStarting, .t = task.from};
  }
}

// One step of the running rows, and the first two evaluations of the starting ones.
void advance(Batch& batch, const Task& task) {
  at::Tensor x_new;
  for (size_t stage = batch.any(Phase::kRunning) ? 1 : kFirstSlope; stage < kStages; ++stage) {
    x_new = points_of(batch, task, stage);  // at the last stage: the solution of order 5
    evaluate(batch, task, x_new, stage);
    if (stage == kFirstSlope && batch.any(Phase::kStarting)) choose_trial_steps(batch, task);
  }
  const auto weighted = [&](const std::array<double, kMaxStages>& weights) {
    return
        [&](const Row& row, size_t j) { return row.phase == Phase::kRunning ? task.sign() * row.h * weights[j] : 0; };
  };
  if (batch.any(Phase::kStarting)) choose_first_steps(batch, task);
  const std::vector<bool> starting = batch.in(Phase::kStarting);
  std::vector<bool> taken(batch.rows.size());
  at::Tensor integral_new = batch.integral;
  if (batch.any(Phase::kRunning)) {
    at::Tensor integral_error;
    if (task.field.has_rate) {
      integral_new = combined(batch, batch.integral, batch.rate, weighted(kDopri5.b));
      integral_error = combined(batch, {}, batch.rate, weighted(kDopri5Error));
    }
    const ErrorScales before = error_scales(task.config, batch.x, batch.integral);
    const ErrorScales after = error_scales(task.config, x_new, integral_new);
    const ErrorScales scales{at::maximum(before.x, after.x),
                             integral_new.defined() ? at::maximum(before.integral, after.integral) : at::Tensor()};
    const at::Tensor error = combined(batch, {}, batch.k, weighted(kDopri5Error));
    taken = judge(batch, task, error_norms(task.config, batch.in(Phase::kRunning), scales, error, integral_error));
  }
  const auto keep = [&](const std::vector<bool>& chosen, at::Tensor& value, const at::Tensor& other) {
    if (value.defined()) value = at::where(mask_of(chosen, value), other, value);
  };
  keep(taken, batch.x, x_new);
  keep(taken, batch.integral, integral_new);
  keep(taken, batch.k[0], batch.k[kTrialSlope]);
  keep(taken, batch.rate[0], batch.rate[kTrialSlope]);
  keep(starting, batch.k[0], batch.k[kFirstSlope]);
  keep(starting, batch.rate[0], batch.rate[kFirstSlope]);
  for (Row& row : batch.rows)
    if (row.phase == Phase::kStarting) row.phase = Phase::kRunning;
}

void hand_out_finished(Batch& batch, const Task& task, const Queue& queue) {
  for (size_t r = 0; r < batch.rows.size(); ++r) {
    Row& row = batch.rows[r];
    if (row.phase != Phase::kRunning || row.t != task.to) continue;
    const auto place = static_cast<int64_t>(r);
    row.phase = Phase::kIdle;
    const double integral = batch.integral.defined() ? batch.integral[place].item<double>() : 0;
    check(std::isfinite(integral), "sample " + std::to_string(batch.samples[r]) +
                                       ": the integral of the rate (of the divergence) up to t = " +
                                       number_text(row.t) + " is not finite, though the solution is");
    queue.done({.sample = batch.samples[r], .x = batch.x[place].clone(), .integral = integral, .nfe = row.nfe});
  }
}

}  // namespace

void solve_adaptively(const Field& field, const OdeConfig& config, double from, double to, int64_t net_batch,
                      const Queue& queue) {
  assert(config.adaptive() && net_batch >= 1 && from != to);
  const at::NoGradGuard no_gradients;
  const Task task{field, config, from, to};
  Batch batch{.rows = std::vector<Row>(static_cast<size_t>(net_batch))};
  for (;;) {
    refill(batch, task, queue);
    if (!batch.any(Phase::kStarting) && !batch.any(Phase::kRunning)) return;
    advance(batch, task);
    hand_out_finished(batch, task, queue);
  }
}

}  // namespace cfm::flow
