#include "evaluator/nll_plan.h"

#include <algorithm>

#include "base/hash.h"
#include "data/image_file.h"

namespace cfm::evaluator {
namespace {

// The labels of the network's conditioning, for each image.
std::vector<int64_t> labels_for(const NllJob& job, const models::UNetConfig& model, const data::Dataset& images,
                                int64_t count) {
  std::vector<int64_t> labels(static_cast<size_t>(count), -1);
  if (model.num_classes == 0) {
    check(job.labels.empty() || job.labels == "none",
          "--labels=" + job.labels + ": the network has no classes; leave --labels out");
    return labels;
  }
  if (job.labels == "none") {
    check(model.null_class, "--labels=none: the network was trained without a null class; it has classes 0.." +
                                std::to_string(model.num_classes - 1) + ". Leave --labels out: they are the data's");
    std::fill(labels.begin(), labels.end(), model.null_label());
    return labels;
  }
  for (int64_t i = 0; i < count; ++i) {
    const int64_t label = images.label(i);
    check(label >= 0 && label < model.num_classes,
          "--data=" + job.data + ": image " + std::to_string(i) + " is of class " + std::to_string(label) +
              ", the network has classes 0.." + std::to_string(model.num_classes - 1) + ". Give data of its classes" +
              (model.null_class ? ", or --labels=none" : ""));
    labels[static_cast<size_t>(i)] = label;
  }
  return labels;
}

Json settings_of(const NllPlan& plan, const NllJob& job, int threads, const checkpoint::Weights& weights,
                 const data::Dataset& images) {
  const flow::LikelihoodConfig& likelihood = plan.likelihood;
  const flow::OdeConfig& ode = likelihood.ode;
  Json settings{{"weights_xxh3_128", weights.hash},
                {"dataset_fingerprint", images.fingerprint().files},
                {"images", plan.count},
                {"repeats", likelihood.repeats},
                {"labels", weights.info.model.num_classes == 0 ? "none"
                           : job.labels == "none"              ? "null class"
                                                               : "data"},
                {"seed", likelihood.seed},
                {"solver", ode.solver}};
  if (ode.adaptive()) {
    settings.update({{"atol", ode.atol},
                     {"rtol", ode.rtol},
                     {"step_control", ode.step_control},
                     {"step_lengths", ode.step_lengths()},
                     {"error_norm", ode.error_norm}});
  } else {
    settings.update({{"steps", ode.steps}, {"grid", ode.grid}});
  }
  settings["divergence"] = likelihood.divergence;
  if (likelihood.divergence != "exact") settings["probes"] = likelihood.probes;
  settings["precision"] = likelihood.type == at::kDouble ? "fp64" : "fp32";
  settings["net_batch"] = likelihood.net_batch;
  settings["threads"] = threads;
  return settings;
}

}  // namespace

NllPlan plan_nll(const NllJob& job, int threads, const checkpoint::Weights& weights, const NetworkFlow& network,
                 const data::Dataset& images) {
  const models::UNetConfig& model = weights.info.model;
  const data::ImageShape shape{model.in_channels, model.image_size, model.image_size};
  check(images.image_shape() == shape, "--data=" + job.data + " has images of " +
                                           data::shape_text(images.image_shape()) + ", the network of " +
                                           weights.file.string() + " takes " + data::shape_text(shape));
  check(images.size() >= 1, "--data=" + job.data + " has no images");
  check(job.count <= images.size(), "--count=" + std::to_string(job.count) + ": " + job.data + " has " +
                                        std::to_string(images.size()) + " images; 0 takes all of them");
  NllPlan plan;
  plan.likelihood = job.likelihood;
  plan.likelihood.sigma0 = network.sigma0;
  plan.likelihood.ode.t_end = network.t_end;
  check_no_problems(plan.likelihood.validate());
  plan.count = job.count > 0 ? job.count : images.size();
  plan.dimensions = shape.bytes();
  plan.labels = labels_for(job, model, images, plan.count);
  plan.settings = settings_of(plan, job, threads, weights, images);
  const std::string text = plan.settings.dump();
  plan.key = xxh3_128_hex(text.data(), text.size());
  plan.file = {.folder = job.results_dir.empty() ? job.weights.run_dir / "results" : job.results_dir,
               .metric = "nll",
               .step = weights.info.step,
               .tag = job.tag.empty() ? tag_of(plan.settings) : job.tag};
  plan.parts = plan.file.parts();
  return plan;
}

NllPlan with_twice_the_steps(const NllPlan& plan, int64_t images) {
  NllPlan finer = plan;
  finer.likelihood.ode.steps *= 2;
  finer.likelihood.repeats = 1;
  finer.count = std::min(images, plan.count);
  finer.parts /= "twice_the_steps";
  finer.name = "check";
  return finer;
}

int64_t unit_of(const NllPlan& plan) {
  const flow::OdeConfig& ode = plan.likelihood.ode;
  return ode.adaptive() && ode.step_control == "batch" ? plan.likelihood.net_batch : 1;
}

std::vector<Draw> share_of_rank(const NllPlan& plan, const DrawRecords& kept, int rank, int size) {
  const int64_t unit = unit_of(plan), repeats = plan.likelihood.repeats;
  const auto last_of = [&](int64_t first) { return std::min(first + unit, plan.draws()); };
  std::vector<int64_t> missing;  // first draws of units
  for (int64_t first = 0; first < plan.draws(); first += unit) {
    for (int64_t draw = first; draw < last_of(first); ++draw) {
      if (kept.contains({draw / repeats, draw % repeats})) continue;
      missing.push_back(first);
      break;
    }
  }
  const auto units = static_cast<int64_t>(missing.size());
  std::vector<Draw> share;
  for (int64_t u = units * rank / size; u < units * (rank + 1) / size; ++u) {
    const int64_t first = missing[static_cast<size_t>(u)];
    for (int64_t draw = first; draw < last_of(first); ++draw) share.push_back({draw / repeats, draw % repeats});
  }
  return share;
}

}  // namespace cfm::evaluator
