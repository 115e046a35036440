#include "evaluator/fid_sweep.h"

#include <array>
#include <cstdio>
#include <string>

#include "base/log.h"
#include "base/number_text.h"
#include "evaluator/drawn_samples.h"
#include "evaluator/feature_pass.h"
#include "evaluator/fid_text.h"
#include "evaluator/frechet.h"
#include "evaluator/kept_piece.h"
#include "evaluator/solver_error.h"

namespace cfm::evaluator {
namespace {

std::string name_of(const flow::OdeConfig& ode) {
  return ode.solver + "-" + (ode.adaptive() ? number_text(ode.rtol) : number_text(int64_t{ode.steps}));
}

std::string error_name_of(const flow::OdeConfig& ode) { return "error-" + name_of(ode); }

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
                          const parallel::MpiSession& session, EvaluationMetrics& metrics) {
  const bool leads = session.rank() == 0;
  const std::filesystem::path parts = plan.file.parts();
  const int64_t compared = compared_samples(plan.count);

  int64_t before = 0;  // samples of the solvers that have been

  // NFE and FID of a solver.
  const auto distance = [&](const flow::SampleConfig& config) -> std::optional<Json> {
    FeaturePass pass{.count = plan.count, .block = plan.block};
    pass.verb = config.ode.solver;
    pass.stop = &stop;
    pass.progress = [&](double share) {
      metrics.progress(before + static_cast<int64_t>(share * static_cast<double>(plan.count)));
    };
    const ImageSource samples = drawn_samples(*inputs.weights, network, config, device, {parts, name_of(config.ode)});
    const std::optional<FeatureSet> set = collect_features(samples, pass, inputs.features, session);
    if (!set) return std::nullopt;
    Json point{{"solver", config.ode.solver}};
    if (config.ode.adaptive()) {
      point["tolerance"] = config.ode.rtol;
    } else {
      point["steps"] = config.ode.steps;
    }
    point["nfe"] = static_cast<double>(set->evaluations) / static_cast<double>(plan.count);
    parallel::agree_on(session, [&] {
      if (leads) point["fid"] = frechet_distance(set->features->gaussian(), *inputs.reference.features);
    });
    return point;
  };

  // Its samples' distance from the exact ones.
  const auto states = [&](const flow::SampleConfig& config, const std::string& name) {
    return states_of_share(network.velocity, config, {compared, inputs.shape, device, {parts, name}, stop}, session);
  };
  std::optional<at::Tensor> exact;  // this rank's share, made for the first error that is not there
  const auto error = [&](const flow::SampleConfig& config) -> std::optional<Json> {
    flow::SampleConfig fine = config;
    fine.ode = exact_solver(plan.sampling.ode);
    if (!exact) exact = states(fine, "exact");
    if (!exact) return std::nullopt;
    const std::optional<at::Tensor> mine = states(config, error_name_of(config.ode));
    if (!mine) return std::nullopt;
    return Json{{"rms_error", rms_difference(*mine, *exact, compared, config.net_batch, session)}};
  };

  Json curve = Json::array();
  for (const flow::OdeConfig& ode : sweep_solvers(over, plan.sampling.ode)) {
    flow::SampleConfig config = plan.sampling;
    config.ode = ode;
    std::optional<Json> point = kept_or_made(parts, name_of(ode), session, [&] { return distance(config); });
    if (!point) return std::nullopt;
    const std::optional<Json> of_point =
        kept_or_made(parts, error_name_of(ode), session, [&] { return error(config); });
    if (!of_point) return std::nullopt;
    before += plan.count;
    if (!leads) continue;
    point->update(*of_point);
    curve.push_back(*point);
    say(point_text(*point));
  }
  if (!leads) return Json::object();
  return Json{{"curve", curve},
              {"exact", {{"solver", kExactSolver}, {"steps", kExactSteps}, {"samples", compared}}},
              {"samples", plan.count},
              {"rank_deficient", deficiencies(plan, inputs)}};
}

}  // namespace cfm::evaluator
