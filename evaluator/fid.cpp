#include "evaluator/fid.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <vector>

#include "base/durable_file.h"
#include "base/log.h"
#include "evaluator/drawn_samples.h"
#include "evaluator/feature_pass.h"
#include "evaluator/fid_cost.h"
#include "evaluator/fid_plan.h"
#include "evaluator/fid_sweep.h"
#include "evaluator/fid_text.h"
#include "evaluator/gather.h"
#include "evaluator/kept_piece.h"
#include "evaluator/labels.h"
#include "evaluator/measures.h"
#include "evaluator/sample_file.h"
#include "evaluator/solver_error.h"
#include "parallel/device.h"
#include "parallel/threads.h"

namespace cfm::evaluator {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

constexpr const char* kSamplesFile = "samples_file";  // of a repeat's part and of a result: where samples were kept

std::string name_of(int64_t repeat) { return "repeat-" + std::to_string(repeat); }

// Samples of one repeat, their features, their measures at rank 0; nothing if stopped. Collective.
std::optional<Json> measured_repeat(int64_t repeat, const FidJob& job, const FidPlan& plan, const FidInputs& inputs,
                                    const ImageSource& images, const std::vector<int64_t>& labels, SharedStop& stop,
                                    const parallel::MpiSession& session, EvaluationMetrics& metrics) {
  const data::ImageShape& shape = images.shape;
  std::vector<at::Tensor> mine{at::empty({0, shape.channels, shape.height, shape.width}, at::kByte)};
  FeaturePass pass{.first = plan.first_of(repeat), .count = plan.count, .block = plan.block, .kept = plan.count};
  pass.logits = true;
  pass.verb = job.draws() ? "sampling" : "features";
  pass.stop = &stop;
  pass.progress = [&](double share) {
    metrics.progress(repeat * plan.count + static_cast<int64_t>(share * static_cast<double>(plan.count)));
  };
  const bool keeps = repeat == 0 && !job.keep_samples.empty();
  if (keeps) pass.also = [&mine](const at::Tensor& block) { mine.push_back(block); };
  const std::optional<FeatureSet> set = collect_features(images, pass, inputs.features, session);
  if (!set) return std::nullopt;
  const at::Tensor all = keeps ? gather_images(at::cat(mine), session) : at::Tensor();  // [count,C,H,W] at rank 0
  Json result = Json::object();
  bool stopped = false;
  parallel::agree_on(session, [&] {
    if (session.rank() != 0) return;
    if (keeps) {
      write_samples(job.keep_samples, all, labels_of(labels, pass.first, plan.count), {});
      result[kSamplesFile] = job.keep_samples.string();
    }
    result["first_sample"] = pass.first;
    try {
      result.update(to_json(measure(*set, inputs.reference, job.sampling.seed, job.kid, job.neighbours,
                                    [&stop] { stop.throw_if_asked(); })));
    } catch (const Stopped&) {
      stopped = true;
    }
    if (job.draws()) result["nfe"] = static_cast<double>(set->evaluations) / static_cast<double>(plan.count);
  });
  if (session.control().any(stopped)) return std::nullopt;
  return result;
}

// All repeats, the ones that were kept among them, as numbers_json; nothing if stopped. Collective.
std::optional<Json> measured_repeats(const FidJob& job, const FidPlan& plan, const FidInputs& inputs,
                                     const NetworkFlow& network, c10::Device device, const std::vector<int64_t>& labels,
                                     SharedStop& stop, const parallel::MpiSession& session,
                                     EvaluationMetrics& metrics) {
  const bool leads = session.rank() == 0;
  Json repeats = Json::array();
  for (int64_t r = 0; r < plan.repeats; ++r) {
    const ImageSource images =
        job.draws() ? drawn_samples(*inputs.weights, network, plan.sampling, device, {plan.file.parts(), name_of(r)})
                    : *inputs.samples;
    std::optional<Json> repeat = kept_or_made(plan.file.parts(), name_of(r), session, [&] {
      return measured_repeat(r, job, plan, inputs, images, labels, stop, session, metrics);
    });
    if (!repeat) return std::nullopt;
    if (!leads) continue;
    repeat->erase(kSamplesFile);
    repeats.push_back(*repeat);
    say(repeat_text(*repeat, r, plan.repeats));
  }
  return leads ? numbers_json(repeats, plan, inputs) : Json::object();
}

// Probes both networks, on every rank. Collective.
std::string cost_of(const FidJob& job, const FidPlan& plan, const FidInputs& inputs, const NetworkFlow& network,
                    c10::Device device, const parallel::MpiSession& session) {
  const std::vector<flow::OdeConfig> solvers =
      job.sweep ? sweep_solvers(job.sweep_over, plan.sampling.ode)
                : std::vector<flow::OdeConfig>(static_cast<size_t>(plan.repeats), plan.sampling.ode);
  FidWork work;
  if (const std::optional<ImageSource>& real = inputs.reference.images; real && !job.sweep) {
    const int64_t kept = std::min(inputs.reference.most_kept, real->count);
    work.distance_seconds = static_cast<double>(plan.repeats) *
                            seconds_of_distances(plan.count, kept, inputs.features.dimensions, job.kid, session);
  }
  const auto features_of = [&](int64_t images, int64_t block) {
    work.feature_images += images;
    work.feature_calls += most_batches(images, block, kFeatureBatch, session.size());
  };
  if (!inputs.reference.complete) features_of(inputs.reference.images->count, kBlockImages);
  for (size_t i = 0; i < solvers.size(); ++i) features_of(plan.count, plan.block);
  work.feature_call_seconds = seconds_a_feature_batch(inputs.features, inputs.shape, session);
  if (job.draws()) {
    const int64_t batch = plan.sampling.net_batch, compared = compared_samples(plan.count);
    const double batches = most_batches(plan.count, plan.block, batch, session.size()),
                 error_batches = job.sweep ? most_batches(compared, batch, batch, session.size()) : 0;
    work.error_calls = error_batches * static_cast<double>(exact_solver(plan.sampling.ode).fixed_nfe());
    for (const flow::OdeConfig& ode : solvers) {
      const auto nfe = static_cast<double>(ode.adaptive() ? kGuessedEvaluations : ode.fixed_nfe());
      work.sampling_calls += batches * nfe;
      work.error_calls += error_batches * nfe;
      work.is_a_guess = work.is_a_guess || ode.adaptive();
    }
    work.call_seconds = seconds_a_call(network.velocity, batch, inputs.shape, device, session);
  }
  return cost_text(work);
}

// How often `count` samples are drawn, or measured.
int64_t images_times(const FidJob& job, const FidPlan& plan) {
  return job.sweep ? static_cast<int64_t>(sweep_solvers(job.sweep_over, plan.sampling.ode).size()) : plan.repeats;
}

// Whether what this file tells of was made with its samples kept where the job wants them, and they are there.
bool samples_are_kept(const FidJob& job, const fs::path& file) {
  return read_json(file).value(kSamplesFile, "") == job.keep_samples.string() && fs::exists(job.keep_samples);
}

// A repeat whose samples are to be kept, and were not, is made again; a result that is there stays as it is.
void mind_unkept_samples(const FidJob& job, const FidPlan& plan, ResultState state) {
  if (job.keep_samples.empty()) return;
  if (state == ResultState::kDone) {
    check(samples_are_kept(job, plan.file.json()),
          "--keep_samples=" + job.keep_samples.string() + ": the result is there already, " +
              plan.file.json().string() +
              ", and was made without keeping its samples there. Another --tag makes both anew");
    return;
  }
  const fs::path repeat = plan.file.parts() / (name_of(0) + ".json");
  if (fs::exists(repeat) && !samples_are_kept(job, repeat)) fs::remove(repeat);
}

// The weights, or the images, that the job names. Collective.
// `inputs`: with the network of features and the reference, which all checkpoints share; the rest is filled in.
Outcome evaluate_one(const FidJob& job, FidInputs& inputs, const ClaimResult& claim_result, c10::Device device,
                     const Machine& machine, const parallel::MpiSession& session, const StopSignal& signal,
                     data::Hdf5Process& hdf5, EvaluationMetrics& metrics) {
  const bool leads = session.rank() == 0;

  // What is measured, with what, against what; whether that has been done, or is being done by another job.
  NetworkFlow network;
  std::vector<int64_t> labels;  // taken in turn; empty: none
  flow::SampleConfig sampling = job.sampling;
  parallel::agree_on(session, [&] {
    if (!job.draws()) return;
    inputs.weights = load_weights(job.weights);
    const models::UNetConfig& model = inputs.weights->info.model;
    inputs.shape = {model.in_channels, model.image_size, model.image_size};
    labels = label_cycle(job.labels, model);
    network = network_flow(*inputs.weights,
                           [&labels](int64_t sample) { return labels[static_cast<size_t>(sample) % labels.size()]; });
    sampling.sigma0 = network.sigma0;
    sampling.ode.t_end = network.t_end;
    if (leads && !job.keep_samples.empty()) check_writable(job.keep_samples, "--keep_samples");
  });
  if (!job.draws()) {
    inputs.samples = open_image_source("--samples", job.samples, session, hdf5);
    inputs.shape = inputs.samples->shape;
  }
  FidPlan plan;
  agree_on_job(session, [&] {
    inputs.features.check_takes(inputs.shape);
    plan = plan_fid(job, machine.threads, inputs, sampling);
  });
  const ClaimedResult claimed = claim_result(plan.file, plan.settings);
  if (claimed.state == ResultState::kElsewhere) return Outcome::kElsewhere;
  parallel::agree_on(session, [&] {
    if (leads) mind_unkept_samples(job, plan, claimed.state);
  });
  if (inputs.weights) inputs.weights->net->to(device);
  if (leads) say(settings_text(plan, job, inputs, machine));
  metrics.begin(plan.file, plan.count * images_times(job, plan));
  if (claimed.state == ResultState::kDone) {
    if (leads) metrics.result();
    if (leads) say("done         the result is there already; another --tag makes another");
    return Outcome::kDone;
  }
  const std::string cost = cost_of(job, plan, inputs, network, device, session);
  if (leads) say(cost);

  // The work: reference, samples, features, distances.
  const Clock::time_point start = Clock::now();
  const std::string this_start =
      session.control().broadcast(utc_now() + "-" + session.host() + "-" + std::to_string(::getpid()));
  SharedStop stop(signal, plan.file.parts() / (this_start + ".stop"));
  std::optional<Json> numbers;
  if (complete_reference(inputs.reference, inputs.features, stop, session))
    numbers = job.sweep ? sweep(plan, job.sweep_over, inputs, network, device, stop, session, metrics)
                        : measured_repeats(job, plan, inputs, network, device, labels, stop, session, metrics);
  if (!numbers) {
    if (leads) say("stopped      what is finished is kept; the same command continues");
    return Outcome::kStopped;
  }

  // The result.
  parallel::agree_on(session, [&] {
    if (!leads) return;
    const Json result = result_json(*numbers, plan, job, inputs, machine, seconds_since(start));
    commit(plan.file, result, "", *claimed.claim);
    metrics.result();
  });
  if (leads) say(outcome_text(plan, *numbers, seconds_since(start)));
  return Outcome::kDone;
}

}  // namespace

Problems FidJob::validate() const {
  Problems problems = sampling.validate();
  for (const std::string& problem : net_batch_problems(sampling.net_batch)) problems.push_back(problem);
  if (draws()) {
    for (const std::string& problem : weights_problems(weights, watch)) problems.push_back(problem);
  } else {
    if (!weights.run_dir.empty() || !weights.weights_file.empty() || watch.on())
      problems.emplace_back("--samples in place of --run_dir, --weights_file and --watch: give one of the four");
    if (sweep) problems.emplace_back("--sweep draws samples: give --run_dir or --weights_file, not --samples");
    if (!keep_samples.empty()) problems.emplace_back("--keep_samples keeps what is drawn: --samples are there already");
  }
  if (weights.run_dir.empty() && !watch.on() && results_dir.empty())
    problems.emplace_back("--results_dir is empty: without --run_dir there is no run whose results/ to write to");
  if (reference.empty()) problems.emplace_back("--reference is empty: give images, or an .npz of statistics");
  if (features.empty())
    problems.emplace_back(
        "--features is empty: give inception:FILE.safetensors, or digits:configs/digits/features.safetensors");
  if (count < 2 && (count != 0 || draws()))
    problems.push_back("--count=" + std::to_string(count) + ": expected at least 2");
  if (repeats < 1) problems.push_back("--repeats=" + std::to_string(repeats) + ": expected at least 1");
  if (kid.subsets < 1) problems.push_back("--kid_subsets=" + std::to_string(kid.subsets) + ": expected at least 1");
  if (kid.subset_size < 2)
    problems.push_back("--kid_subset_size=" + std::to_string(kid.subset_size) + ": expected at least 2");
  if (neighbours < 1) problems.push_back("--neighbours=" + std::to_string(neighbours) + ": expected at least 1");
  if (reference_features < 2)
    problems.push_back("--reference_features=" + std::to_string(reference_features) + ": expected at least 2");
  if (!keep_samples.empty() && keep_samples.extension() != ".npz")
    problems.push_back("--keep_samples=" + keep_samples.string() + ": expected a name that ends in .npz");
  if (sweep && !keep_samples.empty())
    problems.emplace_back("--keep_samples keeps the samples of one solver: leave it out with --sweep");
  if (watch.on() && !keep_samples.empty())
    problems.emplace_back("--keep_samples keeps the samples of one checkpoint: leave it out with --watch");
  for (const std::string& problem : tag_problems(tag)) problems.push_back(problem);
  for (const std::string& problem : metrics.validate()) problems.push_back(problem);
  if (threads < 0)
    problems.push_back("--threads=" + std::to_string(threads) + ": expected 0 (share the cores) or more");
  if (sweep)
    for (const std::string& problem : sweep_over.validate()) problems.push_back(problem);
  return problems;
}

ExitCode evaluate_fid(const FidJob& job, const parallel::MpiSession& session, const StopSignal& signal,
                      data::Hdf5Process& hdf5) {
  check_no_problems(job.validate());
  const c10::Device device = parallel::choose_device(session, job.device);
  const Machine machine = this_machine(session, device, parallel::use_threads(session, job.threads));
  parallel::use_exact_float32();
  FidInputs inputs;
  parallel::agree_on(session, [&] { inputs.features = load_feature_network(job.features, device); });
  inputs.reference = find_reference(job.reference, inputs.features, job.reference_features, session, hdf5);
  if (!inputs.reference.images) check_no_problems(job.without_reference_images);
  const std::filesystem::path evaluated = job.draws() ? evaluated_thing(job.weights, job.watch) : fs::path(job.samples);
  EvaluationMetrics metrics(job.metrics, evaluated, session.rank() == 0);
  const auto evaluate = [&](const FidJob& one, const ClaimResult& claim) {
    return evaluate_one(one, inputs, claim, device, machine, session, signal, hdf5, metrics);
  };
  return evaluate_or_watch(job, evaluate, session, signal);
}

}  // namespace cfm::evaluator
