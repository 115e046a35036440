#include "keeper/flags.h"

#include <gflags/gflags.h>

#include <algorithm>
#include <cassert>

#include "base/unused_flags.h"
#include "flow/objective.h"

DEFINE_string(run_dir, "", "run: folder of a run, as of cfm_train");
DEFINE_int64(step, -1,
             "run: of which checkpoint; -1: verify takes all, export the newest. Of import: that the weights are of");

DEFINE_string(out, "", "output: of import: the weights file to write; of export: the folder to make");

DEFINE_string(
    from, "",
    "import: a state dict as .safetensors, with guided-diffusion's names; scripts/convert_state_dict.py makes "
    "it of guided-diffusion's, flow_matching's and torchcfm's .pt and .pth");
DEFINE_string(part, "", "import: which U-Net, where --from holds several: ema_model, net_model, ...");
DEFINE_double(ema_decay, 0, "import: of the average that the weights are; 0: the raw weights");
DEFINE_int64(image_size, 0, "import: height and width of the images");
DEFINE_bool(learn_sigma, false,
            "import: the network has twice the outputs, the second half for a variance, as guided-diffusion's: it is "
            "left out");
DEFINE_bool(
    time_reversed, false,
    "import: the network was fed time_scale (1 - t), with t = 1 the data, as diffusions are: its first layer is "
    "turned, so that it gives the same for time_scale t");
DEFINE_double(time_shift, 0,
              "import: was added to what the network was fed (guided-diffusion's 1000 steps count from 0: -1)");
DEFINE_string(trained_pixel_map, "y = x/127.5 - 1",
              "import: bytes to the network's space as they were in training, for the record; here they are fed "
              "y = (x + u)/128 - 1");

DEFINE_string(path, "ot", "flow: from noise to data: ot, vp, ve (diffusions, reversed), cosine or polynomial");
DEFINE_double(sigma_min, 1e-5, "flow: width of the OT path at the data (flow_matching and torchcfm: 0)");
DEFINE_double(vp_b0, 0.1, "flow: beta of the VP path at the data");
DEFINE_double(vp_b1, 20, "flow: beta of the VP path at the noise");
DEFINE_double(ve_smin, 0.02, "flow: width of the VE path at the data");
DEFINE_double(ve_smax, 100, "flow: width of the VE path at the noise");
DEFINE_double(polynomial_n, 2, "flow: the polynomial path is t^n, 1 - t^n");
DEFINE_string(objective, "fm", "flow: what the network learnt: fm (velocity), ddpm (noise), sm or scoreflow (score)");

DEFINE_int64(model_channels, 128, "network: channels of the first level");
DEFINE_int64(num_res_blocks, 2, "network: residual blocks a level");
DEFINE_string(channel_mult, "1,2,2,2", "network: channels by level, in units of model_channels");
DEFINE_string(attention_resolutions, "16", "network: image sizes with attention; empty: none but the middle");
DEFINE_int64(num_heads, 4, "network: attention heads, unless num_head_channels is set");
DEFINE_int64(num_head_channels, -1, "network: channels of a head");
DEFINE_int64(num_heads_upsample, -1, "network: heads on the way up; -1: num_heads");
DEFINE_bool(use_new_attention_order, true, "network: qkv as [all q|all k|all v]; else per head, as torchcfm's");
DEFINE_bool(use_scale_shift_norm, true, "network: time embedding scales and shifts the norm");
DEFINE_bool(resblock_updown, true, "network: residual blocks change the resolution");
DEFINE_bool(conv_resample, true, "network: convolutions after plain resampling");
DEFINE_bool(zero_init, true, "network: last convolutions of blocks start at zero; for the record");
DEFINE_bool(activation_checkpointing, false, "network: recompute blocks in backward to save memory; for the record");
DEFINE_double(dropout, 0, "network: probability; for the record");
DEFINE_int64(num_classes, 0, "network: classes of the label embedding; 0: it has none");
DEFINE_bool(null_class, true,
            "network: one more class, the last row of the embedding, that means none (flow_matching's has it, "
            "guided-diffusion's and torchcfm's not)");
DEFINE_double(time_scale, 1000, "network: t enters the embedding times this (flow_matching and torchcfm: 1)");

namespace cfm::keeper {

ProgramHelp program_help() {
  return {
      "cfm_checkpoint list|verify|import|export",
      "looks after checkpoints. list: what there is of a run. verify: hashes every file of a run, of a step, or of any "
      "runs, checkpoints, exports and weights files (verify PATH...). import: weights of guided-diffusion, "
      "flow_matching and torchcfm as a weights file. export: a checkpoint's weights, with flags, results, a model card "
      "and checksums, to give away",
      "cfm_checkpoint list --run_dir=runs/digits",
      __FILE__,
      {"run", "output", "import", "flow", "network"}};
}

Problems flags_of_others(const std::string& command, const std::vector<std::string>& used) {
  const auto is_used = [&](const std::string& name) { return std::ranges::find(used, name) != used.end(); };
  std::vector<std::string> others;
  for (const FlagSetting& flag : flag_settings(program_help()))
    if (!is_used(flag.name) && !is_used(flag.group)) others.push_back(flag.name);
  return unused_flags(others, "cfm_checkpoint " + command + (used.empty() ? " PATH" : "") + " does not look at it");
}

RunChoice run_from_flags() {
  Problems problems;
  if (FLAGS_run_dir.empty()) problems.emplace_back("--run_dir is missing: give the folder of a run");
  if (FLAGS_step < -1) problems.push_back("--step=" + std::to_string(FLAGS_step) + ": expected a step");
  check_no_problems(problems);
  return {FLAGS_run_dir, FLAGS_step == -1 ? std::nullopt : std::optional(FLAGS_step)};
}

namespace {

bool is_given(const std::string& name) {
  gflags::CommandLineFlagInfo flag;
  return gflags::GetCommandLineFlagInfo(name.c_str(), &flag) && !flag.is_default;
}

// What decides the outputs, leaves no trace in tensors, and was not given.
std::vector<std::string> assumed_flags(const flow::Path& path) {
  std::vector<std::string> names{"time_scale", "time_reversed", "time_shift", "use_new_attention_order"};
  if (FLAGS_num_head_channels < 0) names.emplace_back("num_heads");
  names.insert(names.end(), {"objective", "path"});
  for (const auto& [name, value] : flow::path_parameters(path)) names.push_back(name);
  std::vector<std::string> assumed;
  for (const std::string& name : names) {
    if (is_given(name)) continue;
    const std::vector<FlagSetting> all = flag_settings(program_help());
    const auto flag = std::ranges::find(all, name, &FlagSetting::name);
    assert(flag != all.end());
    assumed.push_back("--" + name + "=" + flag->value);
  }
  return assumed;
}

// The network flags as models::unet_config_from_metadata reads them.
models::UNetConfig network_from_flags() {
  std::map<std::string, std::string> fields = models::to_metadata(models::UNetConfig{});
  for (const FlagSetting& flag : flag_settings(program_help()))
    if (flag.group == "network" || flag.name == "image_size") fields[flag.name] = flag.value;
  if (FLAGS_num_classes <= 0) fields["null_class"] = "false";
  return models::unet_config_from_metadata(fields);
}

}  // namespace

ImportJob import_from_flags() {
  flow::FlowConfig flow;
  flow.path = {FLAGS_path, FLAGS_sigma_min, FLAGS_vp_b0, FLAGS_vp_b1, FLAGS_ve_smin, FLAGS_ve_smax, FLAGS_polynomial_n};
  flow.objective = FLAGS_objective;
  Problems problems = flow.validate();
  if (FLAGS_image_size < 1) problems.emplace_back("--image_size is missing: the height and width of the images");
  check_no_problems(problems);
  ImportJob job;
  job.from = FLAGS_from;
  job.out = FLAGS_out;
  job.part = FLAGS_part;
  job.info = {.model = network_from_flags(),
              .path = flow.path.path,
              .objective = flow.objective,
              .path_parameters = flow::path_parameters(flow.path),
              .t_end = flow::t_end(flow.path),
              .sigma0 = flow::sigma0(flow.path),
              .ema_decay = FLAGS_ema_decay,
              .step = std::max<int64_t>(FLAGS_step, 0)};
  job.learn_sigma = FLAGS_learn_sigma;
  job.time_reversed = FLAGS_time_reversed;
  job.time_shift = FLAGS_time_shift;
  job.trained_pixel_map = FLAGS_trained_pixel_map;
  job.assumed = assumed_flags(flow.path);
  return job;
}

ExportJob export_from_flags() {
  const RunChoice run = run_from_flags();
  if (FLAGS_out.empty()) throw SharedError("--out is missing: the folder to make");
  return {run.run_dir, run.step, FLAGS_out};
}

}  // namespace cfm::keeper
