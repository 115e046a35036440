#include "trainer/flags.h"

#include <gflags/gflags.h>

#include <map>
#include <sstream>

#include "base/command_line.h"
#include "trainer/flag_classes.h"

DEFINE_string(run_dir, "", "run: folder of checkpoints, events and samples; the same command resumes from it");
DEFINE_int64(steps, 0, "run: optimizer steps in all");
DEFINE_uint64(seed, 0, "run: key of everything random");
DEFINE_string(init_from, "", "run: weights file (.safetensors) to start from; not needed once there is a checkpoint");
DEFINE_string(
    branch_from, "",
    "run: RUN@STEP: a new run from the weights and averages of that checkpoint, at step 0 with fresh moments; "
    "not needed once there is a checkpoint");
DEFINE_bool(allow_other_data, false, "run: resume although --train_data is not what the run was trained on");
DEFINE_bool(check, false,
            "run: train nothing: show that this launch would work, how long a step and the run take, and what a resume "
            "would change; exit code 2 if it would not work");
DEFINE_string(device, "auto", "run: auto, cpu or cuda (auto: cuda in a program built for it, else cpu)");
DEFINE_int32(threads, 0, "run: of the network on each rank; 0: OMP_NUM_THREADS, or cores over ranks");
DEFINE_double(step_timeout, 600,
              "run: seconds without progress on a rank that end the job; six times as many before the first step");
DEFINE_double(lease_seconds, 60,
              "run: a run of another machine whose trainer has shown no life for so long is taken over");

DEFINE_string(train_data, "", "data: shard file or folder of shards");
DEFINE_string(val_data, "", "data: held-out shards for the loss by t (with --val_every)");
DEFINE_int64(global_batch, 0, "data: images a step over all ranks");
DEFINE_int64(micro_batch, 0, "data: at most this many images at once on a rank; 0: all of its share");
DEFINE_int64(data_groups, 0,
             "data: groups of images, each with an order of its own, so that a node can keep its own groups alone; 0: "
             "those of the run, 1 for a new one");
DEFINE_bool(horizontal_flip, true, "data: mirror images with probability 1/2");

DEFINE_string(
    data_mode, "auto",
    "reading: pread (an image is one read), ram (read once, shared by a node's ranks), or auto: ram if it fits "
    "into half of the free memory");
DEFINE_string(stage_dir, "", "reading: folder on each node's local disk for copies of its own shards; empty: none");
DEFINE_int32(ranks_per_node, 0, "reading: consecutive ranks that play a node; 0: as they are placed");
DEFINE_bool(verify_data, false, "reading: read all shards first and compare their hashes");
DEFINE_int32(loader_threads, 1, "reading: threads that read and draw ahead");

DEFINE_string(path, "ot", "flow: from noise to data: ot, vp, ve (diffusions, reversed), cosine or polynomial");
DEFINE_double(sigma_min, 1e-5, "flow: width of the OT path at the data");
DEFINE_double(vp_b0, 0.1, "flow: beta of the VP path at the data");
DEFINE_double(vp_b1, 20, "flow: beta of the VP path at the noise");
DEFINE_double(ve_smin, 0.02, "flow: width of the VE path at the data");
DEFINE_double(ve_smax, 100, "flow: width of the VE path at the noise");
DEFINE_double(polynomial_n, 2, "flow: the polynomial path is t^n, 1 - t^n");
DEFINE_string(objective, "fm",
              "flow: what the network learns: fm (velocity; with ve: noise), ddpm (noise), sm (score) or scoreflow "
              "(score, weighted for likelihood); all but fm need --path=vp or ve");
DEFINE_string(time_sampling, "uniform",
              "flow: of t: uniform, logit_normal, skewed (EDM's noise levels) or likelihood (scoreflow on vp)");
DEFINE_bool(stratified, false, "flow: uniform times, one from each of --global_batch equal parts");
DEFINE_double(logit_mean, 0, "flow: of logit_normal times; above 0 favours the data's side");
DEFINE_double(logit_std, 1, "flow: of logit_normal times");
DEFINE_string(coupling, "independent",
              "flow: of noise and image: independent, or minibatch_ot (least squared distance within blocks)");
DEFINE_int64(ot_block, 128, "flow: consecutive images of a step that minibatch_ot assigns noise to");
DEFINE_double(label_drop, 0,
              "flow: probability of training with the null class (needs --num_classes and --null_class)");

DEFINE_int64(model_channels, 128, "network: channels of the first level");
DEFINE_int64(num_res_blocks, 2, "network: residual blocks a level");
DEFINE_string(channel_mult, "1,2,2,2", "network: channels by level, in units of model_channels");
DEFINE_string(attention_resolutions, "16", "network: image sizes with attention; empty: none but the middle");
DEFINE_int64(num_heads, 4, "network: attention heads, unless num_head_channels is set");
DEFINE_int64(num_head_channels, -1, "network: channels of a head");
DEFINE_int64(num_heads_upsample, -1, "network: heads on the way up; -1: num_heads");
DEFINE_bool(use_new_attention_order, true, "network: qkv as [all q|all k|all v]; else per head");
DEFINE_bool(use_scale_shift_norm, true, "network: time embedding scales and shifts the norm");
DEFINE_bool(resblock_updown, true, "network: residual blocks change the resolution");
DEFINE_bool(conv_resample, true, "network: convolutions after plain resampling");
DEFINE_bool(zero_init, true, "network: last convolutions of blocks start at zero");
DEFINE_bool(activation_checkpointing, false, "network: recompute blocks in backward to save memory");
DEFINE_double(dropout, 0, "network: probability, keyed by sample");
DEFINE_int64(num_classes, 0, "network: classes of the label embedding; 0: labels are ignored");
DEFINE_bool(null_class, true, "network: one more class that means none, for guidance");
DEFINE_double(time_scale, 1000, "network: t enters the embedding times this");

DEFINE_string(optimizer, "adam", "optimizer: adam or adamw");
DEFINE_double(lr, 1e-4, "optimizer: peak learning rate");
DEFINE_int64(warmup_steps, 0, "optimizer: steps of linear warm-up");
DEFINE_string(lr_decay, "constant", "optimizer: constant, polynomial (linear) or cosine, to lr_floor at the last step");
DEFINE_double(lr_floor, 1e-8, "optimizer: where warm-up starts and decay ends");
DEFINE_double(beta1, 0.9, "optimizer: decay of the first moment");
DEFINE_double(beta2, 0.999, "optimizer: decay of the second moment");
DEFINE_double(adam_eps, 1e-8, "optimizer: added to the root of the second moment");
DEFINE_double(weight_decay, 0, "optimizer: decoupled in adamw, L2 in adam");
DEFINE_double(clip_norm, 1, "optimizer: largest norm of the gradient; 0: no clipping");
DEFINE_string(ema_decays, "0.9999", "optimizer: averages of the weights, comma separated");
DEFINE_bool(ema_warmup, true, "optimizer: decay min(d, (1+n)/(10+n)) at update n");
DEFINE_string(precision, "fp32", "optimizer: fp32, or bf16 by autocast");
DEFINE_bool(channels_last, false, "optimizer: memory format of images and convolutions");
DEFINE_int64(max_skipped, 10, "optimizer: non-finite gradients in a row that end the run");

DEFINE_int64(log_every, 10, "output: steps between lines of events.jsonl and of a log file");
DEFINE_int64(checkpoint_every, 1000,
             "output: steps between checkpoints; one is always made at the end and on a signal");
DEFINE_bool(async_checkpoints, true, "output: training goes on while a checkpoint is written");
DEFINE_int64(keep_last, 2, "output: newest checkpoints kept; 0: all");
DEFINE_int64(keep_every, 0, "output: steps whose checkpoints are never deleted");
DEFINE_int64(keep_unevaluated, 4,
             "output: checkpoints kept beyond these while an evaluator that follows the run (--watch) has yet to "
             "evaluate them: the newest so many");
DEFINE_int64(val_every, 0, "output: steps between losses on held-out images; 0: never");
DEFINE_int64(val_images, 10000, "output: held-out images used, from the first on");
DEFINE_int64(sample_every, 0, "output: steps between sample grids; 0: never");
DEFINE_string(solver, "midpoint", "output: ODE method of the sample grid");
DEFINE_int32(solver_steps, 25, "output: its steps");
DEFINE_int64(net_batch, 16, "output: images at once for samples and held-out losses");
DEFINE_string(metrics, "127.0.0.1:0",
              "metrics: address and port of each node's endpoint for Prometheus; port 0: a free one; empty: none");
DEFINE_string(metrics_advertise, "",
              "metrics: host under which Prometheus finds the endpoint; empty: the node's name (for a loopback "
              "address, that)");
DEFINE_string(metrics_targets, "",
              "metrics: folder that Prometheus' file_sd_configs watches: a file for each run and node while it is at "
              "work; empty: ~/.cache/cfm/targets, without loopback addresses of a Slurm job or of several nodes");
DEFINE_string(metrics_textfile, "",
              "metrics: FILE.prom for node_exporter's textfile collector, where scraping is barred, or a folder in "
              "which each node has a file; empty: none");
DEFINE_string(metrics_run, "", "metrics: the run's name, as the label `run`; empty: that of its folder");

namespace cfm::trainer {

ProgramHelp program_help() {
  return {
      .name = "cfm_train",
      .summary = "trains a continuous normalizing flow by Conditional Flow Matching; the same command resumes",
      .example = "mpirun -n 2 cfm_train --flagfile=configs/digits.flags --run_dir=runs/digits",
      .defined_in = __FILE__,
      .groups = {"run", "data", "reading", "flow", "network", "optimizer", "output", "metrics"},
      .legend =
          "When a run is resumed, flags without a mark may change; those marked [continuing] change what is "
          "learnt from there on, and events.jsonl says so; those marked [fixed] are what the run is: to "
          "change them is refused.",
      .mark = [](const std::string& flag) {
        const FlagRule* const rule = rule_of(flag);
        return std::string(rule == nullptr || rule->flag_class == FlagClass::kFree ? "" : class_name(rule->flag_class));
      }};
}

namespace {

// "1,2,2" as numbers; adds a problem that names the flag if it is something else.
template <class Number>
std::vector<Number> numbers(const std::string& flag, const std::string& text, Problems& problems) {
  std::vector<Number> result;
  std::istringstream in(text);
  for (std::string item; std::getline(in, item, ',');) {
    std::istringstream one(item);
    Number value{};
    if (!(one >> value) || !one.eof()) {
      problems.push_back("--" + flag + "=" + text + ": '" + item +
                         "' is not a number; expected numbers with commas between");
      return {};
    }
    result.push_back(value);
  }
  return result;
}

models::UNetConfig network_flags(Problems& problems) {
  models::UNetConfig model;
  model.model_channels = FLAGS_model_channels;
  model.num_res_blocks = FLAGS_num_res_blocks;
  model.channel_mult = numbers<int64_t>("channel_mult", FLAGS_channel_mult, problems);
  model.attention_resolutions = numbers<int64_t>("attention_resolutions", FLAGS_attention_resolutions, problems);
  model.num_heads = FLAGS_num_heads;
  model.num_head_channels = FLAGS_num_head_channels;
  model.num_heads_upsample = FLAGS_num_heads_upsample;
  model.use_new_attention_order = FLAGS_use_new_attention_order;
  model.use_scale_shift_norm = FLAGS_use_scale_shift_norm;
  model.resblock_updown = FLAGS_resblock_updown;
  model.conv_resample = FLAGS_conv_resample;
  model.zero_init = FLAGS_zero_init;
  model.activation_checkpointing = FLAGS_activation_checkpointing;
  model.dropout = FLAGS_dropout;
  model.num_classes = FLAGS_num_classes;
  model.null_class = FLAGS_num_classes > 0 && FLAGS_null_class;
  model.time_scale = FLAGS_time_scale;
  return model;
}

flow::FlowConfig flow_flags() {
  flow::FlowConfig config;
  config.path.path = FLAGS_path;
  config.path.sigma_min = FLAGS_sigma_min;
  config.path.vp_b0 = FLAGS_vp_b0;
  config.path.vp_b1 = FLAGS_vp_b1;
  config.path.ve_smin = FLAGS_ve_smin;
  config.path.ve_smax = FLAGS_ve_smax;
  config.path.polynomial_n = FLAGS_polynomial_n;
  config.objective = FLAGS_objective;
  return config;
}

TrainConfig config_from_flags(Problems& problems) {
  TrainConfig config;
  config.run_dir = FLAGS_run_dir;
  config.steps = FLAGS_steps;
  config.seed = FLAGS_seed;
  config.init_from = FLAGS_init_from;
  config.branch_from = FLAGS_branch_from;
  config.check = FLAGS_check;
  config.device = FLAGS_device;
  config.threads = FLAGS_threads;
  config.step_timeout = FLAGS_step_timeout;
  config.lease_seconds = FLAGS_lease_seconds;
  config.train_data = FLAGS_train_data;
  config.val_data = FLAGS_val_data;
  config.global_batch = FLAGS_global_batch;
  config.micro_batch = FLAGS_micro_batch;
  config.loader_threads = FLAGS_loader_threads;
  config.data_mode = FLAGS_data_mode;
  config.verify_data = FLAGS_verify_data;
  config.data_groups = FLAGS_data_groups;
  config.stage_dir = FLAGS_stage_dir;
  config.ranks_per_node = FLAGS_ranks_per_node;
  config.allow_other_data = FLAGS_allow_other_data;
  config.flow_config = flow_flags();
  config.times = {FLAGS_time_sampling, FLAGS_stratified, FLAGS_logit_mean, FLAGS_logit_std};
  config.coupling = {FLAGS_coupling, FLAGS_ot_block};
  config.horizontal_flip = FLAGS_horizontal_flip;
  config.label_drop = FLAGS_label_drop;
  config.model = network_flags(problems);
  config.optimizer = {FLAGS_optimizer, FLAGS_beta1, FLAGS_beta2, FLAGS_adam_eps, FLAGS_weight_decay};
  config.schedule = {FLAGS_lr, FLAGS_warmup_steps, FLAGS_lr_decay, FLAGS_lr_floor};
  config.clip_norm = FLAGS_clip_norm;
  config.ema = {numbers<double>("ema_decays", FLAGS_ema_decays, problems), FLAGS_ema_warmup};
  config.precision = FLAGS_precision;
  config.channels_last = FLAGS_channels_last;
  config.max_skipped = FLAGS_max_skipped;
  config.log_every = FLAGS_log_every;
  config.checkpoint_every = FLAGS_checkpoint_every;
  config.async_checkpoints = FLAGS_async_checkpoints;
  config.keep_last = FLAGS_keep_last;
  config.keep_every = FLAGS_keep_every;
  config.keep_unevaluated = FLAGS_keep_unevaluated;
  config.val_every = FLAGS_val_every;
  config.val_images = FLAGS_val_images;
  config.sample_every = FLAGS_sample_every;
  config.metrics = FLAGS_metrics;
  config.metrics_advertise = FLAGS_metrics_advertise;
  config.metrics_targets = FLAGS_metrics_targets;
  config.metrics_textfile = FLAGS_metrics_textfile;
  config.metrics_run = FLAGS_metrics_run;
  config.sample.ode.solver = FLAGS_solver;
  config.sample.ode.steps = FLAGS_solver_steps;
  config.sample.ode.t_end = flow::t_end(config.flow_config.path);
  config.sample.sigma0 = flow::sigma0(config.flow_config.path);
  config.sample.net_batch = FLAGS_net_batch;
  return config;
}

// Of numbers of the flow that nothing of this run takes. Those at their defaults may stand there: exported flagfiles
// hold every flag.
Problems unused_numbers(const TrainConfig& config) {
  const flow::Path& path = config.flow_config.path;
  if (!flow::Path{.path = path.path}.validate().empty()) return {};  // there is no such path: that is said
  const auto own = flow::path_parameters(path);
  std::map<std::string, std::string> why;  // by flag
  for (const char* flag : {"sigma_min", "vp_b0", "vp_b1", "ve_smin", "ve_smax", "polynomial_n"})
    if (!own.contains(flag)) why[flag] = "--path=" + path.path + " has no such number";
  if (config.times.time_sampling != "logit_normal")
    why["logit_mean"] = why["logit_std"] = "it is of --time_sampling=logit_normal";
  if (config.coupling.coupling != "minibatch_ot") why["ot_block"] = "it is of --coupling=minibatch_ot";
  Problems problems;
  for (const FlagSetting& flag : flag_settings(program_help()))
    if (!flag.is_default && why.contains(flag.name))
      problems.push_back("--" + flag.name + "=" + flag.value + " does nothing: " + why.at(flag.name) +
                         ". Leave it out.");
  return problems;
}

}  // namespace

TrainConfig train_config_from_flags() {
  Problems problems;
  TrainConfig config = config_from_flags(problems);
  for (const std::string& problem : config.validate()) problems.push_back(problem);
  for (const std::string& problem : unused_numbers(config)) problems.push_back(problem);
  check_no_problems(problems);
  for (const FlagSetting& flag : flag_settings(program_help())) config.flags[flag.name] = flag.value;
  config.settings = settings_table(program_help());
  return config;
}

std::optional<TrainConfig> read_flags(const std::vector<std::string>& arguments) {
  if (parse_command_line(program_help(), arguments)) return {};
  return train_config_from_flags();
}

}  // namespace cfm::trainer
