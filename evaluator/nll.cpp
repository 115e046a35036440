#include "evaluator/nll.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <unistd.h>

#include <chrono>

#include "base/durable_file.h"
#include "base/log.h"
#include "evaluator/nll_check.h"
#include "evaluator/nll_plan.h"
#include "evaluator/nll_progress.h"
#include "evaluator/nll_text.h"
#include "evaluator/open_images.h"
#include "evaluator/shared_stop.h"
#include "parallel/device.h"
#include "parallel/threads.h"

namespace cfm::evaluator {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

at::Tensor bytes_of_image(const data::Dataset& images, int64_t image) {
  const data::ImageShape shape = images.image_shape();
  at::Tensor bytes = at::empty({shape.channels, shape.height, shape.width}, at::kByte);
  images.read(image, {bytes.mutable_data_ptr<uint8_t>(), static_cast<size_t>(shape.bytes())});
  return bytes;
}

// The draws that earlier starts have kept, the same on all ranks: rank 0 looks. Collective.
DrawRecords kept_draws(const NllPlan& plan, const parallel::MpiSession& session) {
  std::string lines;
  parallel::agree_on(session, [&] {
    if (session.rank() != 0) return;
    make_result_folder(plan.parts);
    const KeptRecords kept = read_records(plan.parts, plan.key);
    for (const auto& [draw, density] : kept.records) lines += record_line(density, plan.key);
    if (kept.damaged_lines > 0)
      warn(std::to_string(kept.damaged_lines) + " lines in " + plan.parts.string() +
           " are torn or damaged: their draws are made again");
    if (!kept.records.empty())
      say("resumed      " + std::to_string(kept.records.size()) + " of " + std::to_string(plan.draws()) +
          " draws of the " + plan.name + " are kept");
  });
  return parse_records(session.control().broadcast(lines), plan.key).records;
}

// Seconds of one network call with its VJP at the batch's shape, on the slowest rank. Collective.
double seconds_of_call(const NllPlan& plan, const NetworkFlow& network, c10::Device device,
                       const models::UNetConfig& model, const parallel::MpiSession& session) {
  const at::NoGradGuard no_gradients;
  const flow::LikelihoodConfig& likelihood = plan.likelihood;
  const std::vector<int64_t> images(static_cast<size_t>(likelihood.net_batch), 0);
  const at::Tensor x = at::zeros({likelihood.net_batch, model.in_channels, model.image_size, model.image_size},
                                 at::TensorOptions().dtype(likelihood.type).device(device));
  const flow::Field field = flow::with_divergence(network.velocity, likelihood.divergence_config());
  std::vector<double> seconds(1);
  for (int call = 0; call < 2; ++call) {  // the first one warms up
    const Clock::time_point start = Clock::now();
    field.at({x, at::full({likelihood.net_batch}, 0.5, x.options().dtype(at::kDouble)), images}, /*wants_rate=*/true);
    parallel::synchronize(device);
    seconds[0] = seconds_since(start);
  }
  session.control().max(seconds);
  return seconds[0];
}

// Makes and keeps this rank's draws until they are done or a stop is asked for.
void compute(const NllPlan& plan, const NetworkFlow& network, const data::Dataset& images,
             const std::vector<Draw>& share, c10::Device device, RecordFile& record, SharedStop& stop) {
  const auto unit = static_cast<size_t>(unit_of(plan));
  size_t at = 0;
  flow::log_densities(
      network.velocity, plan.likelihood, device,
      [&]() -> std::optional<flow::ImageDraw> {
        if (at == share.size() || (at % unit == 0 && stop.asked())) return std::nullopt;
        const auto [image, k] = share[at++];
        return flow::ImageDraw{image, k, bytes_of_image(images, image)};
      },
      [&](const flow::DrawDensity& density) { record.append(density); });
}

// Computes what is not kept yet, on all ranks, and adds it. Collective.
DrawRecords completed(DrawRecords kept, const NllPlan& plan, const NetworkFlow& network, const data::Dataset& images,
                      const parallel::MpiSession& session, const StopSignal& signal, c10::Device device,
                      EvaluationMetrics* metrics) {
  const std::string this_start =
      session.control().broadcast(utc_now() + "-" + session.host() + "-" + std::to_string(::getpid()));
  RecordFile record(plan.parts / (this_start + "-rank" + std::to_string(session.rank())), plan.key);
  SharedStop stop(signal, plan.parts / (this_start + ".stop"));
  NllProgress progress(session.rank() == 0, plan, static_cast<int64_t>(kept.size()), metrics);
  agree_on_shares(session, &stop, [&] {
    compute(plan, network, images, share_of_rank(plan, kept, session.rank(), session.size()), device, record, stop);
  });
  std::string lines;
  for (const std::string& of_rank : session.control().gather(record.lines())) lines += of_rank;
  kept.merge(parse_records(session.control().broadcast(lines), plan.key).records);
  progress.finish(kept);
  if (!session.control().any(stop.asked()) && static_cast<int64_t>(kept.size()) < plan.draws())
    throw SharedError("only " + std::to_string(kept.size()) + " of " + std::to_string(plan.draws()) +
                          " draws could be kept in " + plan.parts.string(),
                      ExitCode::kRetry);
  return kept;
}

// The weights that the job names. Collective.
Outcome evaluate_one(const NllJob& job, const data::Dataset& images, const ClaimResult& claim_result,
                     c10::Device device, const Machine& machine, const parallel::MpiSession& session,
                     const StopSignal& signal, EvaluationMetrics& metrics) {
  const bool leads = session.rank() == 0;
  // What is evaluated, on what; whether that has been done, or is being done by another job.
  checkpoint::Weights weights;
  NetworkFlow network;
  NllPlan plan;
  parallel::agree_on(session, [&] {
    weights = load_weights(job.weights);
    network = network_flow(weights, [&](int64_t image) { return plan.labels[static_cast<size_t>(image)]; });
  });
  agree_on_job(session, [&] { plan = plan_nll(job, machine.threads, weights, network, images); });
  const ClaimedResult claimed = claim_result(plan.file, plan.settings);
  if (claimed.state == ResultState::kElsewhere) return Outcome::kElsewhere;
  weights.net->to(device, plan.likelihood.type);
  if (leads) say(settings_text(job, plan, weights, images, machine));
  const data::Fingerprint& held_out = images.fingerprint();
  const bool same_images = !held_out.images.empty() && weights.info.dataset_images_fingerprint == held_out.images;
  if (leads && (same_images || weights.info.dataset_fingerprint == held_out.files))
    warn("--data=" + job.data + " is what the network was trained on: its likelihood says nothing of other images");
  metrics.begin(plan.file, plan.count);
  if (claimed.state == ResultState::kDone) {
    if (leads) metrics.result();
    if (leads) say("done         the result is there already; another --tag makes another");
    return Outcome::kDone;
  }

  // What is missing: each draw is kept as soon as it is finished. Nothing, if it was stopped.
  const Clock::time_point start = Clock::now();
  const auto all_draws = [&](const NllPlan& of, EvaluationMetrics* told) -> std::optional<DrawRecords> {
    DrawRecords records = kept_draws(of, session);
    if (const int64_t missing = of.draws() - static_cast<int64_t>(records.size()); missing > 0) {
      const double call_seconds = seconds_of_call(of, network, device, weights.info.model, session);
      if (leads) say(cost_text(of, missing, call_seconds, session.size()));
      records = completed(std::move(records), of, network, images, session, signal, device, told);
    }
    if (static_cast<int64_t>(records.size()) == of.draws()) return records;
    if (leads)
      say("stopped      " + std::to_string(records.size()) + " of " + std::to_string(of.draws()) + " draws of the " +
          of.name + " are kept; the same command continues");
    return std::nullopt;
  };
  const std::optional<DrawRecords> records = all_draws(plan, &metrics);
  if (!records) return Outcome::kStopped;
  std::optional<ConvergenceCheck> check;
  if (!plan.likelihood.ode.adaptive() && job.check_images > 0) {
    const NllPlan finer = with_twice_the_steps(plan, job.check_images);
    const std::optional<DrawRecords> fine = all_draws(finer, nullptr);
    if (!fine) return Outcome::kStopped;
    check = compare(finer, *records, *fine);
    if (leads) say(convergence_text(plan, *check));
  }

  // The result.
  const std::vector<ImageNll> by_image = images_of(*records, plan.likelihood.repeats, plan.dimensions);
  const NllSummary summary = summary_of(by_image, *records);
  parallel::agree_on(session, [&] {
    if (!leads) return;
    const Json result =
        result_json(job, plan, weights, images, machine, summary, check ? &*check : nullptr, seconds_since(start));
    commit(plan.file, result, csv_of(by_image, plan.labels), *claimed.claim);
    metrics.result();
  });
  if (leads) say(outcome_text(plan, summary, seconds_since(start)));
  return Outcome::kDone;
}

}  // namespace

Problems NllJob::validate() const {
  Problems problems = likelihood.validate();
  for (const std::string& problem : net_batch_problems(likelihood.net_batch)) problems.push_back(problem);
  for (const std::string& problem : weights_problems(weights, watch)) problems.push_back(problem);
  if (data.empty()) problems.emplace_back("--data is empty: give the shards of held-out images");
  if (!weights.weights_file.empty() && results_dir.empty())
    problems.emplace_back("--results_dir is empty: with --weights_file there is no run whose results/ to write to");
  if (!labels.empty() && labels != "data" && labels != "none")
    problems.push_back("--labels=" + labels + ": expected data or none");
  if (count < 0) problems.push_back("--count=" + std::to_string(count) + ": expected 0 (all images) or more");
  if (check_images < 0)
    problems.push_back("--check_images=" + std::to_string(check_images) + ": expected 0 (no check) or more");
  for (const std::string& problem : tag_problems(tag)) problems.push_back(problem);
  for (const std::string& problem : metrics.validate()) problems.push_back(problem);
  if (threads < 0)
    problems.push_back("--threads=" + std::to_string(threads) + ": expected 0 (share the cores) or more");
  return problems;
}

ExitCode evaluate_nll(const NllJob& job, const parallel::MpiSession& session, const StopSignal& signal,
                      data::Hdf5Process& hdf5) {
  check_no_problems(job.validate());
  const c10::Device device = parallel::choose_device(session, job.device);
  const Machine machine = this_machine(session, device, parallel::use_threads(session, job.threads));
  parallel::use_exact_float32();
  const data::Dataset images = open_images(job.data, job.data_mode, session, hdf5);
  EvaluationMetrics metrics(job.metrics, evaluated_thing(job.weights, job.watch), session.rank() == 0);
  const auto evaluate = [&](const NllJob& one, const ClaimResult& claim) {
    return evaluate_one(one, images, claim, device, machine, session, signal, metrics);
  };
  return evaluate_or_watch(job, evaluate, session, signal);
}

}  // namespace cfm::evaluator
