#include "toy/flags.h"

#include <gflags/gflags.h>

DEFINE_string(path, "ot", "method: ot, vp, ve, cosine or polynomial");
DEFINE_string(objective, "fm", "method: fm, ddpm, sm or scoreflow; the last three with vp and ve");
DEFINE_string(time_sampling, "uniform", "method: uniform, logit_normal, skewed, or likelihood (vp with scoreflow)");
DEFINE_uint64(seed, 0, "training: key of everything random");
DEFINE_int64(steps, 5000, "training: optimizer steps in all");
DEFINE_int64(global_batch, 512, "training: points a step, never the same twice");
DEFINE_double(lr, 1e-3, "training: of Adam; falls linearly to zero");
DEFINE_int64(width, 256, "network: of its hidden layers");
DEFINE_int64(layers, 5, "network: linear layers, the last included");
DEFINE_int64(time_frequencies, 8, "network: K of its cos(k pi t) and sin(k pi t), k = 1 .. K");
DEFINE_int64(count, 10000, "measures: samples of every look at the flow; 0: none are drawn");
DEFINE_int64(nll_count, 2000, "measures: held-out points for the likelihood");
DEFINE_double(tolerance, 1e-5, "measures: absolute and relative, of dopri5 for the likelihood");
DEFINE_string(out, "", "output: folder for result.json and points.npz, made if need be");
DEFINE_int64(net_batch, 512, "machine: points a network call for the likelihood");
DEFINE_int32(threads, 1, "machine: another number may change last bits");

namespace cfm::toy {

ProgramHelp checkerboard_help() {
  return {"cfm_checkerboard",
          "trains a small network on the 2-D checkerboard and measures its exact likelihood. scripts/reproduce_2d runs "
          "it for every method.",
          "cfm_checkerboard --path=vp --objective=sm --out=runs/checkerboard",
          __FILE__,
          {"method", "training", "network", "measures", "output", "machine"}};
}

ExperimentConfig experiment_from_flags() {
  ExperimentConfig config;
  config.training.flow_config.path.path = FLAGS_path;
  config.training.flow_config.objective = FLAGS_objective;
  config.training.times.time_sampling = FLAGS_time_sampling;
  config.training.seed = FLAGS_seed;
  config.training.steps = FLAGS_steps;
  config.training.global_batch = FLAGS_global_batch;
  config.training.lr = FLAGS_lr;
  config.training.model.width = FLAGS_width;
  config.training.model.layers = FLAGS_layers;
  config.training.model.time_frequencies = FLAGS_time_frequencies;
  config.count = FLAGS_count;
  config.nll_count = FLAGS_nll_count;
  config.tolerance = FLAGS_tolerance;
  config.out = FLAGS_out;
  config.net_batch = FLAGS_net_batch;
  config.threads = FLAGS_threads;
  return config;
}

}  // namespace cfm::toy
