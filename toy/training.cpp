#include "toy/training.h"

#include <ATen/TensorOperators.h>
#include <torch/optim/adam.h>

#include <cmath>

#include "base/number_text.h"
#include "flow/draws.h"
#include "toy/checkerboard.h"

namespace cfm::toy {
namespace {

// x0 [B,2], x1 [B,2] and t [B] of the step that begins at `points_seen`, as the objective wants them.
flow::TrainingPoint training_batch(const TrainingConfig& config, int64_t points_seen) {
  const flow::DrawConfig drawing{.seed = config.seed, .path = config.flow_config.path, .times = config.times};
  const flow::StepSlots slots{.images_seen = static_cast<uint64_t>(points_seen),
                              .global_batch = config.global_batch,
                              .count = config.global_batch};
  const flow::Draws draws = flow::make_draws(drawing, slots, {config.model.dimensions});
  return flow::training_point(config.flow_config, draws.x0, checkerboard_points(draws.u), draws.t, config.times);
}

void set_lr(torch::optim::Adam& adam, double lr) {
  for (torch::optim::OptimizerParamGroup& group : adam.param_groups())
    static_cast<torch::optim::AdamOptions&>(group.options()).lr(lr);
}

}  // namespace

Problems TrainingConfig::validate() const {
  Problems problems = model.validate();
  for (const Problems& more : {flow_config.validate(), times.validate(flow_config.path, flow_config.objective)})
    problems.insert(problems.end(), more.begin(), more.end());
  if (model.dimensions != 2)
    problems.push_back("--dimensions=" + std::to_string(model.dimensions) + ": a checkerboard has 2.");
  if (steps < 0) problems.push_back("--steps=" + std::to_string(steps) + ": must not be negative.");
  if (global_batch < 1) problems.push_back("--global_batch=" + std::to_string(global_batch) + ": expected at least 1.");
  if (!(lr > 0 && std::isfinite(lr))) problems.push_back("--lr=" + number_text(lr) + ": must be a positive number.");
  return problems;
}

Trained train(const TrainingConfig& config, const std::function<void(int64_t steps_made, const Net& net)>& look) {
  check_no_problems(config.validate());
  const auto net = std::make_shared<models::Mlp>(config.model, config.seed);
  torch::optim::Adam adam(net->parameters(), torch::optim::AdamOptions(config.lr));
  Trained trained{net, {}};
  look(0, net);
  for (int64_t step = 0; step < config.steps; ++step) {
    const flow::TrainingPoint point = training_batch(config, step * config.global_batch);
    const at::Tensor F = net->forward(point.input, point.t);  // [B,2]
    const at::Tensor loss = flow::loss(F, point).mean();
    adam.zero_grad();
    loss.backward();
    set_lr(adam, config.lr * (1 - static_cast<double>(step) / static_cast<double>(config.steps)));
    adam.step();
    trained.losses.push_back(loss.item<double>());
    check(std::isfinite(trained.losses.back()),
          "step " + std::to_string(step + 1) + ": the loss is not finite. Try a smaller --lr.");
    look(step + 1, net);
  }
  for (at::Tensor& parameter : net->parameters()) parameter.set_requires_grad(false);
  return trained;
}

flow::SampleVelocity velocity_of(const TrainingConfig& config, const Net& net) {
  const flow::Velocity v = flow::velocity_of(
      config.flow_config, [net](const at::Tensor& x, const at::Tensor& t) { return net->forward(x, t); });
  return [v](const at::Tensor& x, const at::Tensor& t, std::span<const int64_t>) { return v(x, t); };
}

}  // namespace cfm::toy
