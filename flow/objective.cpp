#include "flow/objective.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/mse_loss.h>
#include <c10/core/ScalarType.h>

#include "base/shape.h"
#include "flow/convert.h"

namespace cfm::flow {
namespace {

enum class Output { kVelocity, kNoise, kNegativeScore };

Output output_of(const FlowConfig& config) {
  if (config.objective == "sm" || config.objective == "scoreflow") return Output::kNegativeScore;
  return config.objective == "ddpm" || config.path.path == "ve" ? Output::kNoise : Output::kVelocity;
}

bool is_diffusion(const std::string& path) { return path == "vp" || path == "ve"; }

// lambda/sigma^2 with lambda = beta(s) for vp, d sigma^2/ds for ve: both are 2 sigma (sigma alpha'/alpha - sigma').
at::Tensor likelihood_weight(const Coefficients& at) {
  return 2 * (at.alpha_rate / at.alpha - at.sigma_rate / at.sigma);
}

}  // namespace

Problems FlowConfig::validate() const {
  Problems problems = path.validate();
  const bool of_noise = objective == "ddpm" || objective == "sm" || objective == "scoreflow";
  if (objective != "fm" && !of_noise) {
    problems.push_back("--objective=" + objective +
                       ": there is no such objective. Choose one of fm, ddpm, sm, scoreflow.");
  } else if (of_noise && !is_diffusion(path.path)) {
    problems.push_back("--objective=" + objective + " does not go with --path=" + path.path +
                       ": alpha(0) is 0 there, and the velocity that follows from a noise estimate infinite. Choose "
                       "--path=vp or --path=ve, or --objective=fm.");
  }
  return problems;
}

FlowConfig flow_config_from(const std::string& path, const std::map<std::string, std::string>& parameters,
                            const std::string& objective) {
  FlowConfig config{path_from(path, parameters), objective};
  const Problems problems = config.validate();
  if (!problems.empty()) throw Error(problems.front());
  return config;
}

TrainingPoint training_point(const FlowConfig& config, const at::Tensor& x0, const at::Tensor& x1, const at::Tensor& t,
                             const TimeSampling& times) {
  const PathSample sample = sample_path(config.path, x0, x1, t);
  const Output output = output_of(config);
  TrainingPoint point{.input = network_input(config.path, sample.x_t, t),
                      .t = t.to(x1.scalar_type()),
                      .target = output == Output::kVelocity ? sample.u_t : x0,
                      .scale = {},
                      .weight = {}};
  if (output == Output::kNegativeScore) point.scale = coefficients(config.path, t).sigma;
  if (config.objective == "scoreflow") {
    point.weight = times.time_sampling == "likelihood" ? at::full_like(t, likelihood_constant(config.path))
                                                       : likelihood_weight(coefficients(config.path, t));
  }
  return point;
}

at::Tensor loss(const at::Tensor& F, const TrainingPoint& point) {
  const at::Tensor& target = point.target;
  check_shape(F, target.sizes().vec(), "the network's output");
  const at::ScalarType wide = c10::promoteTypes(c10::promoteTypes(F.scalar_type(), target.scalar_type()), at::kFloat);
  const at::Tensor wide_F = F.to(wide);
  const at::Tensor estimate = point.scale.defined() ? factor_of(point.scale, wide_F) * wide_F : wide_F;
  const at::Tensor mean = at::mse_loss(estimate, target.to(wide), at::Reduction::None).flatten(1).mean(1);
  return point.weight.defined() ? point.weight.to(wide) * mean : mean;
}

at::Tensor network_input(const Path& path, const at::Tensor& x, const at::Tensor& t) {
  if (path.path != "ve") return x;
  return x * factor_of((coefficients(path, t).sigma.square() + 0.25).rsqrt(), x);
}

at::Tensor velocity_from_output(const FlowConfig& config, const at::Tensor& x, const at::Tensor& F,
                                const at::Tensor& t) {
  switch (output_of(config)) {
    case Output::kVelocity:
      return F;
    case Output::kNoise:
      return velocity_from_noise(config.path, x, F, t);
    case Output::kNegativeScore:
      return velocity_from_score(config.path, x, -F, t);
  }
  return {};
}

Velocity velocity_of(const FlowConfig& config, const Network& network) {
  return [config, network](const at::Tensor& x, const at::Tensor& t) {
    return velocity_from_output(config, x, network(network_input(config.path, x, t), t.to(x.scalar_type())), t);
  };
}

}  // namespace cfm::flow
