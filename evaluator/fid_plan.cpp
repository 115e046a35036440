#include "evaluator/fid_plan.h"

#include <map>

#include "evaluator/feature_pass.h"
#include "evaluator/measures.h"
#include "evaluator/solver_error.h"

namespace cfm::evaluator {
namespace {

constexpr const char* kLearntLater = "dataset_images_fingerprint";  // so it decides nothing

Json identity_json(const std::map<std::string, std::string>& identity) {
  Json facts = Json::object();
  for (const auto& [name, value] : identity)
    if (name != kLearntLater) facts[name] = value;
  return facts;
}

Json solver_json(const FidJob& job, const flow::OdeConfig& ode) {
  Json solver;
  if (job.sweep) {
    solver = job.sweep_over.json();
    solver["grid"] = ode.grid;
    solver["compared_samples"] = compared_samples(job.count);
    solver["step_control"] = ode.step_control;
    solver["step_lengths"] = ode.step_lengths();
    return solver;
  }
  solver["name"] = ode.solver;
  if (ode.adaptive()) {
    solver.update({{"atol", ode.atol},
                   {"rtol", ode.rtol},
                   {"step_control", ode.step_control},
                   {"step_lengths", ode.step_lengths()}});
  } else {
    solver.update({{"steps", ode.steps}, {"grid", ode.grid}, {"nfe", ode.fixed_nfe()}});
  }
  return solver;
}

std::string labels_text(const FidJob& job, const models::UNetConfig& model) {
  if (model.num_classes == 0) return "none";
  if (job.labels.empty()) return "all";
  return job.labels == "none" ? "null class" : job.labels;
}

Json settings_of(const FidPlan& plan, const FidJob& job, int threads, const FidInputs& inputs) {
  Json samples =
      inputs.weights ? Json{{"weights_xxh3_128", inputs.weights->hash}} : identity_json(inputs.samples->identity);
  samples["count"] = plan.count;
  samples["repeats"] = plan.repeats;
  Json settings{{"samples", samples}, {"seed", job.sampling.seed}};
  if (inputs.weights) {
    settings["labels"] = labels_text(job, inputs.weights->info.model);
    settings["solver"] = solver_json(job, plan.sampling.ode);
    settings["net_batch"] = plan.sampling.net_batch;
    if (plan.sampling.quantise != flow::kQuantisations[0].name) settings["quantise"] = plan.sampling.quantise;
  }
  const FeatureNetwork& network = inputs.features;
  settings["reference"] = identity_json(inputs.reference.identity);
  settings["reference"]["statistics"] = inputs.reference.published ? "the file's" : "of all images, unflipped";
  if (!job.sweep && inputs.reference.images) {
    settings["reference"]["features_kept"] = job.reference_features;
    settings["kid"] = {{"subsets", job.kid.subsets}, {"subset_size", job.kid.subset_size}};
    if (job.neighbours != kNeighbours) settings["neighbours"] = job.neighbours;
  }
  settings["features"] = {
      {"name", network.name}, {"xxh3_128", network.hash}, {"dimensions", network.dimensions}, {"input", network.input}};
  settings["threads"] = threads;
  return settings;
}

}  // namespace

FidPlan plan_fid(const FidJob& job, int threads, const FidInputs& inputs, const flow::SampleConfig& sampling) {
  FidPlan plan;
  plan.sampling = sampling;
  plan.block = kBlockImages;
  if (inputs.weights) {
    const auto whole = [batch = sampling.net_batch](int64_t n) { return (n + batch - 1) / batch * batch; };
    plan.count = job.count;
    plan.repeats = job.sweep ? 1 : job.repeats;
    plan.block = whole(kBlockImages);
    plan.stride = whole(job.count);
  } else {
    const ImageSource& samples = *inputs.samples;
    check(job.count <= samples.count, "--count=" + std::to_string(job.count) + ": " + samples.what);
    plan.count = plan.stride = job.count > 0 ? job.count : samples.count;
    check(plan.count >= 2, samples.what + ": a covariance takes at least 2 images");
  }
  if (const std::optional<ImageSource>& real = inputs.reference.images)
    check(inputs.shape == real->shape,
          "the samples are of " + data::shape_text(inputs.shape) + ", " + real->what + ": expected one shape");
  plan.settings = settings_of(plan, job, threads, inputs);
  plan.file = {.folder = job.results_dir.empty() ? job.weights.run_dir / "results" : job.results_dir,
               .metric = job.sweep ? "fid_sweep" : "fid",
               .step = inputs.weights ? inputs.weights->info.step : 0,
               .tag = job.tag.empty() ? tag_of(plan.settings) : job.tag};
  return plan;
}

std::string rank_deficiency(const std::string& of, int64_t images, int64_t dimensions) {
  if (images == 0 || images >= kSamplesPerDimension * dimensions) return "";
  return std::to_string(images) + " " + of + " for " + std::to_string(dimensions) +
         " dimensions of features: their covariance is rank-deficient or nearly so, and a distance says little beside "
         "others of as many images; at least " +
         std::to_string(kSamplesPerDimension * dimensions) + " are needed";
}

}  // namespace cfm::evaluator
