#include "evaluator/fid_flags.h"

#include <gflags/gflags.h>

#include "base/command_text.h"
#include "base/unused_flags.h"
#include "evaluator/solver_flags.h"

DEFINE_string(run_dir, "", "weights: the run whose checkpoint to take; its results/ gets the result");
DEFINE_int64(step, -1, "weights: of which checkpoint of --run_dir; -1: the newest");
DEFINE_string(weights, "", "weights: raw, or ema_<decay>; empty: the longest EMA that the checkpoint holds");
DEFINE_string(weights_file, "", "weights: a weights file in place of --run_dir; give --results_dir too");
DEFINE_string(
    samples, "",
    "weights: images in place of a network's: HDF5 (a folder or a file), an .npz (arr_0, uint8 NHWC or NCHW), "
    "or a folder of PNG and JPEG files");
DEFINE_int64(count, 50000, "samples: how many a repeat; of --samples the first so many, all if it is not given");
DEFINE_int64(repeats, 3,
             "samples: how often, each time with samples of their own; the result has least, mean and most");
DEFINE_uint64(seed, 0, "samples: of the noise, and of KID's subsets");
DEFINE_string(
    labels, "",
    "samples: all (classes in turn), none (the null class), one class, or a list 0,3,7 taken in turn; empty: all "
    "if the network has classes");
DEFINE_string(quantise, "uniform",
              "samples: how an image y in [-1,1] becomes bytes, rounded down: uniform, 128 (y + 1), the inverse of "
              "training's map; adm, 127.5 (y + 1); edm, 127.5 y + 128, as these two do");
DEFINE_string(keep_samples, "",
              "samples: FILE.npz, where to keep those of the first repeat, as ADM's evaluator reads it");
DEFINE_string(reference, "",
              "reference: images (as --samples), or an .npz of statistics: mu, sigma, and maybe mu_s, sigma_s, arr_0");
DEFINE_string(
    features, "",
    "reference: inception:FILE.safetensors (scripts/convert_inception.py makes it), torchscript:FILE.pt (NVIDIA's), or "
    "digits:configs/digits/features.safetensors");
DEFINE_int64(reference_features, cfm::evaluator::kReferenceKept,
             "reference: so many of its images, evenly spaced, are what KID, precision and recall compare with");
DEFINE_int64(kid_subsets, 100, "reference: pairs of subsets that KID is the mean over");
DEFINE_int64(kid_subset_size, 1000, "reference: images of each of KID's subsets, fewer where there are fewer");
DEFINE_int64(neighbours, cfm::evaluator::kNeighbours,
             "reference: of precision and recall: a neighbourhood reaches to the so-many-th nearest");
DEFINE_string(watch, "",
              "watching: in place of --run_dir: a run that is being trained, each of whose checkpoints is evaluated as "
              "it comes; several jobs share them");
DEFINE_double(watch_idle, 3600, "watching: seconds without a new checkpoint that end the job");
DEFINE_double(lease_seconds, 60,
              "watching: what a job has begun that has shown no life for so long, on another machine, is taken over");
DEFINE_string(results_dir, "", "output: where the result goes; empty: RUN/results");
DEFINE_string(tag, "", "output: part of the result's name; empty: a hash of all settings that decide the numbers");
DEFINE_string(solver, "dopri5",
              "solver: dopri5: adaptive; or on a grid: euler, midpoint, heun2, rk4, rk4_38 or dp5 (1, 2, 2, 4, 4 and 6 "
              "network evaluations a step)");
DEFINE_double(atol, 1e-5, "solver: dopri5: absolute tolerance");
DEFINE_double(rtol, 1e-5, "solver: dopri5: relative tolerance");
DEFINE_string(
    step_control, "sample",
    "solver: dopri5: sample, each has steps of its own; or batch, all of a batch take the same, as torchdiffeq");
DEFINE_int64(max_nfe, 100000, "solver: dopri5: network evaluations after which an image is an error");
DEFINE_int32(steps, 50, "solver: steps of a grid");
DEFINE_string(grid, "uniform", "solver: times of the steps: uniform, warped t = 1 - (1 - i/n)^2, or edm");
DEFINE_bool(sweep, false,
            "solver: in place of one: the FID of every solver against its network evaluations, all from the same "
            "noises, and how far its samples are from a solution of 1,000 steps");
DEFINE_string(sweep_nfe, "8,16,32,64,128",
              "solver: of --sweep: network evaluations an image on grids, at most: as many "
              "steps as they pay for");
DEFINE_string(sweep_tolerances, "1e-2,1e-3,1e-4,1e-5", "solver: of --sweep: tolerances of dopri5; empty: without it");
DEFINE_string(metrics_textfile, "",
              "metrics: FILE.prom for node_exporter's textfile collector, or a folder in which each evaluation gets a "
              "file of its own; empty: none");
DEFINE_string(metrics_push, "", "metrics: http://HOST:PORT of a Prometheus Pushgateway; empty: none");
DEFINE_string(metrics_run, "", "metrics: the run's name, as the label `run`; empty: that of its folder");
DEFINE_int64(net_batch, 64, "machine: samples a network call, always; another number may change an image's last bits");
DEFINE_string(device, "auto", "machine: auto, cpu or cuda");
DEFINE_int32(threads, 1,
             "machine: threads a rank; another number may change last bits. 0: OMP_NUM_THREADS, or the rank's share of "
             "the cores");

namespace cfm::evaluator {
namespace {

// Of flags that were given and would be ignored.
Problems unused(const FidJob& job) {
  Problems problems;
  const auto add = [&](const std::vector<std::string>& flags, const std::string& why) {
    for (const std::string& problem : unused_flags(flags, why)) problems.push_back(problem);
  };
  if (!job.draws()) {
    add({"step", "weights", "repeats", "labels", "quantise", "net_batch", "solver", "steps", "grid", "atol", "rtol",
         "step_control", "max_nfe"},
        "--samples=" + job.samples + " are there already. Leave it out");
  } else if (job.sweep) {
    add({"solver", "steps", "atol", "rtol"},
        "--sweep takes every solver, with --sweep_nfe and --sweep_tolerances. Leave it out");
    add({"repeats"}, "--sweep draws one set of samples with each solver. Leave it out");
    add({"kid_subsets", "kid_subset_size", "reference_features", "neighbours"},
        "--sweep measures the FID alone. Leave it out");
    if (job.sweep_over.tolerances.empty())
      add({"step_control", "max_nfe"}, "--sweep without --sweep_tolerances leaves dopri5 out. Leave it out too");
  } else {
    problems = unused_solver_flags(job.sampling.ode);
  }
  if (!job.sweep) add({"sweep_nfe", "sweep_tolerances"}, "there is no --sweep. Give it, or leave this out");
  if (!job.watch.on()) add({"watch_idle"}, "there is no --watch. Give it, or leave this out");
  return problems;
}

}  // namespace

ProgramHelp fid_help() {
  return {"cfm_eval_fid",
          "FID, sFID, Inception Score, KID, precision and recall of a checkpoint's samples, or of any images. Under "
          "mpirun the ranks share the work and give the same numbers. The same command continues what was stopped or "
          "killed.",
          "mpirun -n 2 cfm_eval_fid --run_dir=runs/digits --reference=runs/demo/data/train --count=1000 "
          "--features=digits:configs/digits/features.safetensors",
          __FILE__,
          {"weights", "samples", "reference", "solver", "watching", "output", "metrics", "machine"}};
}

FidJob fid_job_from_flags() {
  FidJob job;
  job.weights = {FLAGS_run_dir, FLAGS_weights_file, FLAGS_step, FLAGS_weights};
  job.samples = FLAGS_samples;
  job.count = job.draws() || flag_was_given("count") ? FLAGS_count : 0;
  job.repeats = FLAGS_repeats;
  job.labels = FLAGS_labels;
  job.sampling.ode = ode_from_flags();
  job.sampling.net_batch = FLAGS_net_batch;
  job.sampling.seed = FLAGS_seed;
  job.sampling.quantise = FLAGS_quantise;
  job.reference = FLAGS_reference;
  job.reference_features = FLAGS_reference_features;
  job.kid = {FLAGS_kid_subsets, FLAGS_kid_subset_size};
  job.neighbours = FLAGS_neighbours;
  job.without_reference_images =
      unused_flags({"reference_features", "kid_subsets", "kid_subset_size", "neighbours"},
                   "--reference=" + FLAGS_reference +
                       " holds statistics alone, no images for KID, precision and recall. Leave it out, or give a "
                       "--reference with images");
  job.features = FLAGS_features;
  job.results_dir = FLAGS_results_dir;
  job.watch = {FLAGS_watch, task_of(fid_help()), FLAGS_watch_idle, FLAGS_lease_seconds};
  job.tag = FLAGS_tag;
  job.metrics = {FLAGS_metrics_textfile, FLAGS_metrics_push, FLAGS_metrics_run, "cfm_eval_fid"};
  job.keep_samples = FLAGS_keep_samples;
  job.sweep = FLAGS_sweep;
  job.sweep_over = {FLAGS_sweep_nfe, FLAGS_sweep_tolerances};
  job.device = FLAGS_device;
  job.threads = FLAGS_threads;
  job.command = command_text(fid_help());
  check_no_problems(unused(job));
  return job;
}

}  // namespace cfm::evaluator
