#include "evaluator/flags.h"

#include <gflags/gflags.h>

#include "base/unused_flags.h"
#include "evaluator/solver_flags.h"

DEFINE_string(run_dir, "", "weights: the run whose checkpoint to take");
DEFINE_int64(step, -1, "weights: of which checkpoint of --run_dir; -1: the newest");
DEFINE_string(weights, "", "weights: raw, or ema_<decay>; empty: the longest EMA that the checkpoint holds");
DEFINE_string(weights_file, "", "weights: a weights file in place of --run_dir");
DEFINE_int64(count, 64, "samples: how many images");
DEFINE_uint64(seed, 0, "samples: of the noise; sample i is the same whatever --count and the number of ranks");
DEFINE_string(
    labels, "",
    "samples: all (classes in turn), none (the null class), one class, or a list 0,3,7 taken in turn; empty: all "
    "if the network has classes");
DEFINE_string(quantise, "uniform",
              "samples: how an image y in [-1,1] becomes bytes, rounded down: uniform, 128 (y + 1), the inverse of "
              "training's map; adm, 127.5 (y + 1); edm, 127.5 y + 128, as these two do");
DEFINE_string(out, "samples.png",
              "output: FILE.png, a grid; or FILE.npz, arr_0 uint8 NHWC and arr_1 labels, as ADM's evaluator reads it");
DEFINE_string(
    trajectories, "",
    "output: FILE.npz, the first 16 samples (fewer if --count or --net_batch is less) on their way from noise to "
    "image: x float32 [N,T,C,H,W] at 17 times t; empty: none");
DEFINE_int64(columns, 0, "output: of the grid; 0: as square as can be");
DEFINE_string(beside, "", "output: shards whose first images are drawn as a second grid, to the right");
DEFINE_int64(zoom, 1, "output: each pixel of the grid so many times");
DEFINE_string(solver, "midpoint",
              "solver: euler, midpoint, heun2, rk4, rk4_38 or dp5 on a grid (1, 2, 2, 4, 4 and 6 network evaluations a "
              "step), or dopri5: adaptive");
DEFINE_int32(steps, 50, "solver: steps of a grid; midpoint with 50 takes 100 network evaluations an image");
DEFINE_string(grid, "uniform", "solver: times of the steps: uniform, warped t = 1 - (1 - i/n)^2, or edm");
DEFINE_double(atol, 1e-5, "solver: dopri5: absolute tolerance");
DEFINE_double(rtol, 1e-5, "solver: dopri5: relative tolerance");
DEFINE_string(
    step_control, "sample",
    "solver: dopri5: sample, each has steps of its own; or batch, all of a batch take the same, as torchdiffeq");
DEFINE_int64(max_nfe, 100000, "solver: dopri5: network evaluations after which an image is an error");
DEFINE_int64(net_batch, 64, "machine: samples a network call, always; another number may change an image's last bits");
DEFINE_string(device, "auto", "machine: auto, cpu or cuda");
DEFINE_int32(threads, 1,
             "machine: threads a rank; another number may change last bits. 0: OMP_NUM_THREADS, or the rank's share of "
             "the cores");

namespace cfm::evaluator {
namespace {

// Of flags that were given and would be ignored.
Problems unused(const SampleJob& job) {
  Problems problems = unused_solver_flags(job.sampling.ode);
  if (job.out.extension() == ".npz")
    for (const std::string& problem :
         unused_flags({"columns", "zoom"}, "--out=" + job.out.string() + " holds arrays, no grid. Leave it out"))
      problems.push_back(problem);
  return problems;
}

}  // namespace

ProgramHelp sample_help() {
  return {"cfm_sample",
          "images from a checkpoint or a weights file. Under mpirun the ranks share the work and give the same "
          "images.",
          "cfm_sample --run_dir=runs/digits --count=64 --out=samples.png",
          __FILE__,
          {"weights", "samples", "output", "solver", "machine"}};
}

SampleJob sample_job_from_flags() {
  SampleJob job;
  job.weights = {FLAGS_run_dir, FLAGS_weights_file, FLAGS_step, FLAGS_weights};
  job.count = FLAGS_count;
  job.out = FLAGS_out;
  job.trajectories = FLAGS_trajectories;
  job.layout.columns = FLAGS_columns;
  job.layout.zoom = FLAGS_zoom;
  job.beside = FLAGS_beside;
  job.labels = FLAGS_labels;
  job.sampling.ode = ode_from_flags();
  job.sampling.net_batch = FLAGS_net_batch;
  job.sampling.seed = FLAGS_seed;
  job.sampling.quantise = FLAGS_quantise;
  job.device = FLAGS_device;
  job.threads = FLAGS_threads;
  check_no_problems(unused(job));
  return job;
}

}  // namespace cfm::evaluator
