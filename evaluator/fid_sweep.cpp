#include "evaluator/fid_sweep.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/stack.h>

#include <array>
#include <cstdio>
#include <vector>

#include "base/log.h"
#include "base/number_text.h"
#include "evaluator/drawn_samples.h"
#include "evaluator/feature_pass.h"
#include "evaluator/frechet.h"
#include "evaluator/kept_piece.h"

namespace cfm::evaluator {
namespace {

// The first net_batch samples before they become bytes, [B,C,H,W].
at::Tensor solutions(const NetworkFlow& network, const flow::SampleConfig& config, const data::ImageShape& shape,
                     c10::Device device) {
  std::vector<at::Tensor> found(static_cast<size_t>(config.net_batch));
  flow::draw_samples(
      network.velocity, config, 0, config.net_batch, {shape.channels, shape.height, shape.width}, device,
      [&](const flow::SampledImage& image) { found[static_cast<size_t>(image.sample)] = image.x.clone(); });
  return at::stack(found);
}

std::string name_of(const flow::OdeConfig& ode) {
  return ode.solver + "-" + (ode.adaptive() ? number_text(ode.rtol) : number_text(int64_t{ode.steps}));
}

std::string point_text(const Json& point) {
  std::array<char, 160> text{};
  const std::string setting = point.contains("steps") ? point["steps"].dump() + " steps" : point["tolerance"].dump();
  std::snprintf(text.data(), text.size(), "%-12s %12s  NFE %8.1f  FID %10.4f  rms error %.3e",
                point["solver"].get<std::string>().c_str(), setting.c_str(), point["nfe"].get<double>(),
                point["fid"].get<double>(), point["rms_error"].get<double>());
  return text.data();
}

}  // namespace

std::optional<Json> sweep(const FidPlan& plan, const SweepConfig& over, const FidInputs& inputs,
                          const NetworkFlow& network, c10::Device device, SharedStop& stop,
                          const parallel::MpiSession& session) {
  const bool leads = session.rank() == 0;
  at::Tensor exact;  // made for the first point that is not there
  const auto rms_error = [&](const flow::SampleConfig& config) {
    if (!exact.defined()) {
      flow::SampleConfig fine = config;
      fine.ode.solver = kExactSolver;
      fine.ode.steps = kExactSteps;
      exact = solutions(network, fine, inputs.shape, device);
    }
    const at::Tensor error = solutions(network, config, inputs.shape, device) - exact;
    return error.to(at::kDouble).square().mean().sqrt().item<double>();
  };
  Json curve = Json::array();
  for (const flow::OdeConfig& ode : sweep_solvers(over, plan.sampling.ode)) {
    flow::SampleConfig config = plan.sampling;
    config.ode = ode;
    const auto make = [&]() -> std::optional<Json> {
      FeaturePass pass{.count = plan.count, .block = plan.block};
      pass.verb = ode.solver;
      pass.stop = &stop;
      const ImageSource samples =
          drawn_samples(*inputs.weights, network, config, device, {plan.file.parts(), name_of(ode)});
      const std::optional<FeatureSet> set = collect_features(samples, pass, inputs.features, session);
      if (!set) return std::nullopt;
      if (!leads) return Json::object();
      Json point{{"solver", ode.solver}};
      if (ode.adaptive()) {
        point["tolerance"] = ode.rtol;
      } else {
        point["steps"] = ode.steps;
      }
      point["nfe"] = static_cast<double>(set->evaluations) / static_cast<double>(plan.count);
      point["fid"] = frechet_distance(set->features->gaussian(), *inputs.reference.features);
      point["rms_error"] = rms_error(config);
      return point;
    };
    const std::optional<Json> point = kept_or_made(plan.file.parts(), name_of(ode), session, make);
    if (!point) return std::nullopt;
    if (!leads) continue;
    curve.push_back(*point);
    say(point_text(*point));
  }
  if (!leads) return Json::object();
  return Json{{"curve", curve},
              {"exact", {{"solver", kExactSolver}, {"steps", kExactSteps}, {"samples", plan.sampling.net_batch}}},
              {"samples", plan.count}};
}

}  // namespace cfm::evaluator
