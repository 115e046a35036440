#include "toy/experiment.h"

#include <ATen/Parallel.h>
#include <ATen/ops/stack.h>

#include <algorithm>
#include <chrono>

#include "base/log.h"
#include "base/number_text.h"
#include "flow/draws.h"
#include "flow/trajectory.h"
#include "toy/checkerboard.h"
#include "toy/point_likelihood.h"
#include "toy/result_files.h"

namespace cfm::toy {
namespace {

constexpr int kMidpointEvaluations = 2;  // a step
constexpr int kFineSteps = 48;           // of the midpoint rule, where a sample's way is looked at
constexpr int kTimes = 6;                // intervals between the times that are kept of all samples
constexpr int64_t kTrajectories = 256;   // samples whose every step is kept
constexpr int kStepsInTraining = 20;     // of the midpoint rule, for looks over training

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Samples 0 .. count - 1 by `steps` steps of the midpoint rule, kept at about intervals + 1 times: [count,T,2].
flow::Trajectories traced(const ExperimentConfig& config, const flow::SampleVelocity& velocity, int64_t count,
                          int steps, int intervals) {
  const flow::Path& path = config.training.flow_config.path;
  const flow::SampleConfig sampling{.ode = {.solver = "midpoint", .steps = steps, .t_end = flow::t_end(path)},
                                    .net_batch = count,
                                    .seed = config.training.seed,
                                    .sigma0 = flow::sigma0(path)};
  return flow::trace_samples(velocity, sampling, count, intervals, {config.training.model.dimensions}, at::kCPU);
}

// The same at the end alone, [count,2].
at::Tensor drawn(const ExperimentConfig& config, const flow::SampleVelocity& velocity, int steps) {
  return traced(config, velocity, config.count, steps, 1).x.select(1, 1);
}

// After a 50th, a 10th, a quarter, and all of the training; fewer where it is short.
std::vector<int64_t> looks(int64_t steps) {
  std::vector<int64_t> at{steps / 50, steps / 10, steps / 4, steps};
  at.erase(std::unique(at.begin(), at.end()), at.end());
  return at;
}

void look_at_samples(const ExperimentConfig& config, const flow::SampleVelocity& velocity, Points& points) {
  const flow::Trajectories coarse = traced(config, velocity, config.count, kFineSteps, kTimes);
  points.t = coarse.times;
  points.x = coarse.x;
  std::vector<at::Tensor> few;
  points.nfe = {4, 8, 10, 20};  // [fig. 4, right]
  for (const int64_t nfe : points.nfe)
    few.push_back(drawn(config, velocity, static_cast<int>(nfe) / kMidpointEvaluations));
  points.few = at::stack(few, 1);
  const flow::Trajectories fine =
      traced(config, velocity, std::min(config.count, kTrajectories), kFineSteps, kFineSteps);
  points.trajectory_t = fine.times;
  points.trajectory = fine.x;
}

void measure_likelihood(const ExperimentConfig& config, const flow::SampleVelocity& velocity, Points& points) {
  const TrainingConfig& training = config.training;
  points.points = checkerboard_points(
      flow::keyed_uniform(training.seed, Purpose::kValidation, 0, config.nll_count, {training.model.dimensions}));
  const flow::OdeConfig ode{.solver = flow::kAdaptiveSolver,
                            .t_end = flow::t_end(training.flow_config.path),
                            .atol = config.tolerance,
                            .rtol = config.tolerance};
  for (const PointDensity& density :
       point_densities(velocity, ode, flow::sigma0(training.flow_config.path), config.net_batch, points.points)) {
    points.log_p.push_back(density.log_p);
    points.points_nfe.push_back(density.nfe);
  }
}

}  // namespace

Problems ExperimentConfig::validate() const {
  Problems problems = training.validate();
  if (count < 0) problems.push_back("--count=" + std::to_string(count) + ": must not be negative.");
  if (nll_count < 2) problems.push_back("--nll_count=" + std::to_string(nll_count) + ": expected at least 2.");
  if (!(tolerance > 0 && tolerance < 1))
    problems.push_back("--tolerance=" + number_text(tolerance) + ": expected a number between 0 and 1.");
  if (net_batch < 1) problems.push_back("--net_batch=" + std::to_string(net_batch) + ": expected at least 1.");
  if (threads < 1) problems.push_back("--threads=" + std::to_string(threads) + ": expected at least 1.");
  if (out.empty()) problems.emplace_back("--out: give the folder for result.json and points.npz.");
  return problems;
}

void run_experiment(const ExperimentConfig& config) {
  check_no_problems(config.validate());
  std::filesystem::create_directories(config.out);
  at::set_num_threads(config.threads);
  Points points;

  // ---- train; the same samples again and again on the way ----
  const auto start = std::chrono::steady_clock::now();
  double looking = 0;  // seconds
  std::vector<at::Tensor> over_training;
  const std::vector<int64_t> looked_at = looks(config.training.steps);
  const Trained trained = train(config.training, [&](int64_t steps_made, const Net& net) {
    if (config.count == 0 || std::ranges::find(looked_at, steps_made) == looked_at.end()) return;
    const auto look_start = std::chrono::steady_clock::now();
    points.step.push_back(steps_made);
    over_training.push_back(drawn(config, velocity_of(config.training, net), kStepsInTraining));
    looking += seconds_since(look_start);
  });
  Seconds seconds{.training = seconds_since(start) - looking};
  if (config.count > 0) points.training = at::stack(over_training, 1);

  // ---- likelihood of held-out points ----
  const flow::SampleVelocity velocity = velocity_of(config.training, trained.net);
  const auto likelihood_start = std::chrono::steady_clock::now();
  measure_likelihood(config, velocity, points);
  seconds.likelihood = seconds_since(likelihood_start);

  // ---- samples over t, at few evaluations, and their trajectories ----
  const auto samples_start = std::chrono::steady_clock::now();
  if (config.count > 0) look_at_samples(config, velocity, points);
  seconds.samples = looking + seconds_since(samples_start);

  write_points(config.out / "points.npz", points);
  say(write_result(config.out / "result.json", config, trained, points, seconds));
}

}  // namespace cfm::toy
