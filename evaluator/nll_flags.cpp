#include "evaluator/nll_flags.h"

#include <gflags/gflags.h>

#include "base/command_text.h"
#include "base/unused_flags.h"
#include "evaluator/solver_flags.h"

DEFINE_string(run_dir, "", "weights: the run whose checkpoint to take; its results/ gets the result");
DEFINE_int64(step, -1, "weights: of which checkpoint of --run_dir; -1: the newest");
DEFINE_string(weights, "", "weights: raw, or ema_<decay>; empty: the longest EMA that the checkpoint holds");
DEFINE_string(weights_file, "", "weights: a weights file in place of --run_dir; give --results_dir too");
DEFINE_string(data, "", "images: shards of held-out images, as --train_data of cfm_train");
DEFINE_string(data_mode, "auto", "images: how they are read: auto, pread or ram");
DEFINE_int64(count, 0, "images: the first so many; 0: all");
DEFINE_string(labels, "", "images: data (their own), or none (the null class); empty: data if the network has classes");
DEFINE_int64(repeats, 1,
             "likelihood: K dequantisations an image, whose probabilities are averaged; their cost is K times");
DEFINE_string(
    divergence, "rademacher",
    "likelihood: rademacher or gaussian: Hutchinson's estimate by probes of these; exact: one gradient a pixel");
DEFINE_int64(probes, 1, "likelihood: probes an image; each costs a gradient a network call");
DEFINE_uint64(seed, 0,
              "likelihood: of dequantisation and probes, which are an image's own whatever --count and the ranks");
DEFINE_string(precision, "fp32", "likelihood: of the network: fp32, or fp64 for references");
DEFINE_string(solver, "dopri5",
              "solver: dopri5: adaptive; or on a grid: euler, midpoint, heun2, rk4, rk4_38 or dp5 (1, 2, 2, 4, 4 and 6 "
              "network evaluations a step)");
DEFINE_double(atol, 1e-5, "solver: dopri5: absolute tolerance");
DEFINE_double(rtol, 1e-5, "solver: dopri5: relative tolerance");
DEFINE_string(
    step_control, "sample",
    "solver: dopri5: sample, each has steps of its own; or batch, all of a batch take the same, as torchdiffeq");
DEFINE_string(error_norm, "x_logp", "solver: dopri5: x_logp, the larger of the errors of x and of log p; or x alone");
DEFINE_int64(max_nfe, 100000, "solver: dopri5: network evaluations after which a draw is an error");
DEFINE_int32(steps, 12, "solver: steps of a grid");
DEFINE_string(grid, "warped", "solver: times of the steps: uniform, warped t = 1 - (1 - i/n)^2, or edm");
DEFINE_int64(check_images, 32, "solver: on a grid, so many images are done with twice the steps too; 0: none");
DEFINE_string(watch, "",
              "watching: in place of --run_dir: a run that is being trained, each of whose checkpoints is evaluated as "
              "it comes; several jobs share them");
DEFINE_double(watch_idle, 3600, "watching: seconds without a new checkpoint that end the job");
DEFINE_double(lease_seconds, 60,
              "watching: what a job has begun that has shown no life for so long, on another machine, is taken over");
DEFINE_string(results_dir, "", "output: where the result goes; empty: RUN/results");
DEFINE_string(tag, "", "output: part of the result's name; empty: a hash of all settings that decide the number");
DEFINE_string(metrics_textfile, "",
              "metrics: FILE.prom for node_exporter's textfile collector, or a folder in which each evaluation gets a "
              "file of its own; empty: none");
DEFINE_string(metrics_push, "", "metrics: http://HOST:PORT of a Prometheus Pushgateway; empty: none");
DEFINE_string(metrics_run, "", "metrics: the run's name, as the label `run`; empty: that of its folder");
DEFINE_int64(net_batch, 64, "machine: draws a network call, always; another number may change last bits");
DEFINE_string(device, "auto", "machine: auto, cpu or cuda");
DEFINE_int32(threads, 1,
             "machine: threads a rank; another number may change last bits. 0: OMP_NUM_THREADS, or the rank's share of "
             "the cores");

namespace cfm::evaluator {
namespace {

// Of flags that were given and would be ignored.
Problems unused(const NllJob& job) {
  Problems problems = unused_solver_flags(job.likelihood.ode);
  const auto add = [&](const char* flag, const std::string& why) {
    for (const std::string& problem : unused_flags({flag}, why)) problems.push_back(problem);
  };
  if (job.likelihood.ode.adaptive())
    add("check_images", "--solver=dopri5 has no grid to check. Leave it out, or give a --solver on a grid");
  if (job.likelihood.divergence == "exact") add("probes", "--divergence=exact needs none. Leave it out");
  if (!job.watch.on()) add("watch_idle", "there is no --watch. Give it, or leave this out");
  return problems;
}

}  // namespace

ProgramHelp nll_help() {
  return {"cfm_eval_nll",
          "bits per dimension of held-out images. Under mpirun the ranks share the work. The same command continues "
          "what was stopped or killed.",
          "mpirun -n 2 cfm_eval_nll --run_dir=runs/digits --data=runs/demo/data/val",
          __FILE__,
          {"weights", "images", "likelihood", "solver", "watching", "output", "metrics", "machine"}};
}

NllJob nll_job_from_flags() {
  if (FLAGS_precision != "fp32" && FLAGS_precision != "fp64")
    throw SharedError("--precision=" + FLAGS_precision + ": expected fp32 or fp64");
  NllJob job;
  job.weights = {FLAGS_run_dir, FLAGS_weights_file, FLAGS_step, FLAGS_weights};
  job.results_dir = FLAGS_results_dir;
  job.data = FLAGS_data;
  job.data_mode = FLAGS_data_mode;
  job.labels = FLAGS_labels;
  job.likelihood.ode = ode_from_flags();
  job.likelihood.divergence = FLAGS_divergence;
  job.likelihood.probes = FLAGS_probes;
  job.likelihood.repeats = FLAGS_repeats;
  job.likelihood.seed = FLAGS_seed;
  job.likelihood.net_batch = FLAGS_net_batch;
  job.likelihood.type = FLAGS_precision == "fp64" ? at::kDouble : at::kFloat;
  job.count = FLAGS_count;
  job.check_images = FLAGS_check_images;
  job.watch = {FLAGS_watch, task_of(nll_help()), FLAGS_watch_idle, FLAGS_lease_seconds};
  job.tag = FLAGS_tag;
  job.metrics = {FLAGS_metrics_textfile, FLAGS_metrics_push, FLAGS_metrics_run, "cfm_eval_nll"};
  job.device = FLAGS_device;
  job.threads = FLAGS_threads;
  job.command = command_text(nll_help());
  check_no_problems(unused(job));
  return job;
}

}  // namespace cfm::evaluator
