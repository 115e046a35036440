#include "evaluator/nll_text.h"

#include <array>
#include <cmath>
#include <cstdio>

#include "base/source_revision.h"
#include "metrics/progress.h"

namespace cfm::evaluator {
namespace {

Json provenance(const NllJob& job, const checkpoint::Weights& weights, const data::Dataset& images,
                const Machine& machine) {
  const checkpoint::WeightsInfo& info = weights.info;
  const data::Fingerprint& fingerprint = images.fingerprint();
  return {{"protocol",
           {{"dequantisation", "y = (x + u)/128 - 1, u uniform on [0,1), keyed by (seed, image, draw)"},
            {"density", "log N(x(0); 0, sigma0^2 I) - integral of div v from 0 to t_end"},
            {"average", "bits/dim of an image from the mean over its draws of p(y), then the mean over images"},
            {"probes", "keyed by (seed, image, probe), fixed for the solve, shared by an image's draws"}}},
          {"weights",
           {{"file", weights.file.string()},
            {"name", checkpoint::weights_name(info)},
            {"step", info.step},
            {"xxh3_128", weights.hash},
            {"path", info.path},
            {"objective", info.objective},
            {"t_end", info.t_end},
            {"training_dataset_fingerprint", info.dataset_fingerprint},
            {"training_dataset_images_fingerprint", info.dataset_images_fingerprint},
            {"branched_from", info.branched_from}}},
          {"data",
           {{"path", job.data},
            {"split", images.split().empty() ? Json(nullptr) : Json(images.split())},
            {"images", images.size()},
            {"shape", {images.image_shape().channels, images.image_shape().height, images.image_shape().width}},
            {"fingerprint", fingerprint.files},
            {"images_fingerprint", fingerprint.images}}},
          {"machine", to_json(machine)},
          {"source_revision", source_revision()},
          {"written", utc_now()}};
}

}  // namespace

std::string settings_text(const NllJob& job, const NllPlan& plan, const checkpoint::Weights& weights,
                          const data::Dataset& images, const Machine& machine) {
  const flow::LikelihoodConfig& likelihood = plan.likelihood;
  const std::string probes =
      likelihood.divergence == "exact" ? "" : ", " + std::to_string(likelihood.probes) + " probes";
  return "weights      " + weights.file.string() + "  " + checkpoint::weights_name(weights.info) + ", step " +
         std::to_string(weights.info.step) + ", xxh3 " + weights.hash + "\n" +  //
         "images       " + std::to_string(plan.count) + " of " + std::to_string(images.size()) + " in " + job.data +
         ", fingerprint " + images.fingerprint().text() + "\n" +  //
         "likelihood   " + std::to_string(likelihood.repeats) + " dequantisations an image, divergence " +
         likelihood.divergence + probes + ", seed " + std::to_string(likelihood.seed) + "\n" +                       //
         "solver       " + likelihood.ode.text() + ", " + plan.settings.at("precision").get<std::string>() + "\n" +  //
         "machine      " + std::to_string(machine.ranks) + " ranks, " + machine.device + ", " +
         std::to_string(machine.threads) + " threads a rank, " + std::to_string(likelihood.net_batch) +
         " draws a network call\n" +  //
         "result       " + plan.file.json().string();
}

std::string cost_text(const NllPlan& plan, int64_t missing, double call_seconds, int ranks) {
  const flow::LikelihoodConfig& likelihood = plan.likelihood;
  const double batches = static_cast<double>(missing) / static_cast<double>(likelihood.net_batch) / ranks;
  const auto lasts = [&](double nfe) { return metrics::duration_text(std::ceil(batches) * nfe * call_seconds); };
  std::array<char, 256> text{};
  if (likelihood.ode.adaptive()) {
    std::snprintf(text.data(), text.size(),
                  "cost         %lld draws of the %s, %.3f s a network call of %lld with its gradient: %s at 100 calls "
                  "a draw, %s at 500",
                  static_cast<long long>(missing), plan.name.c_str(), call_seconds,
                  static_cast<long long>(likelihood.net_batch), lasts(100).c_str(), lasts(500).c_str());
  } else {
    const auto nfe = static_cast<double>(likelihood.ode.fixed_nfe());
    std::snprintf(text.data(), text.size(),
                  "cost         %lld draws of the %s, %.0f network calls each, %.3f s a call of %lld with its "
                  "gradient: at most %s",
                  static_cast<long long>(missing), plan.name.c_str(), nfe, call_seconds,
                  static_cast<long long>(likelihood.net_batch), lasts(nfe).c_str());
  }
  return text.data();
}

std::string convergence_text(const NllPlan& plan, const ConvergenceCheck& check) {
  const int steps = plan.likelihood.ode.steps;
  std::array<char, 256> text{};
  std::snprintf(text.data(), text.size(),
                "convergence  %d steps less %d, bits/dim on %lld images: mean %+.2e, rms %.2e, largest %.2e", steps,
                2 * steps, static_cast<long long>(check.images), check.mean, check.rms, check.largest);
  return text.data();
}

std::string outcome_text(const NllPlan& plan, const NllSummary& summary, double seconds) {
  std::array<char, 256> text{};
  std::snprintf(text.data(), text.size(), " over %lld images; NFE %lld to %lld, %.1f in the mean; %.1f s",
                static_cast<long long>(summary.images), static_cast<long long>(summary.nfe_min),
                static_cast<long long>(summary.nfe_max), summary.nfe_mean, seconds);
  return "likelihood   " + bits_text(summary.all_draws) + text.data() +
         (plan.likelihood.repeats > 1 ? "\none draw     " + bits_text(summary.first_draw) : "") + "\nwritten      " +
         plan.file.json().string();
}

Json result_json(const NllJob& job, const NllPlan& plan, const checkpoint::Weights& weights,
                 const data::Dataset& images, const Machine& machine, const NllSummary& summary,
                 const ConvergenceCheck* check, double seconds) {
  Json result{{"format_version", 1}, {"metric", plan.file.metric}, {"tag", plan.file.tag}};
  result.update(json_of(summary, plan.likelihood.repeats));
  result["settings"] = plan.settings;
  if (check != nullptr) {
    result["convergence"] = {{"images", check->images},
                             {"steps", 2 * plan.likelihood.ode.steps},
                             {"mean_difference", check->mean},
                             {"rms_difference", check->rms},
                             {"largest_difference", check->largest}};
  }
  result["command"] = launched(job.command, machine.ranks);
  result.update(provenance(job, weights, images, machine));
  result["seconds"] = seconds;
  result["per_image"] = plan.file.csv().filename().string();
  return result;
}

std::string bits_text(const MeanNll& mean) {
  std::array<char, 64> text{};
  if (std::isfinite(mean.standard_error)) {
    std::snprintf(text.data(), text.size(), "%.5f +- %.5f bits/dim", mean.bits, mean.standard_error);
  } else {
    std::snprintf(text.data(), text.size(), "%.5f bits/dim", mean.bits);
  }
  return text.data();
}

}  // namespace cfm::evaluator
