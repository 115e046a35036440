#include "trainer/resume.h"

#include <ATen/core/grad_mode.h>

#include <set>

#include "base/log.h"
#include "base/number_text.h"
#include "base/source_revision.h"

namespace cfm::trainer {
namespace {

// Fields of the network that do not change what weights mean.
const std::set<std::string> kOfTrainingOnly{"activation_checkpointing", "dropout", "zero_init"};
// Fields that follow from the data.
const std::set<std::string> kOfTheData{"image_size", "in_channels", "out_channels"};

// Flags that a resume may not change. Where a checkpoint is older than a flag it was made with the value beside it.
const std::vector<std::pair<std::string, std::string>> kOfTheRun{{"path", "ot"},
                                                                 {"sigma_min", ""},
                                                                 {"vp_b0", ""},
                                                                 {"vp_b1", ""},
                                                                 {"ve_smin", ""},
                                                                 {"ve_smax", ""},
                                                                 {"polynomial_n", ""},
                                                                 {"objective", "fm"},
                                                                 {"time_sampling", "uniform"},
                                                                 {"stratified", "false"},
                                                                 {"logit_mean", ""},
                                                                 {"logit_std", ""},
                                                                 {"coupling", "independent"},
                                                                 {"ot_block", ""},
                                                                 {"ema_decays", ""},
                                                                 {"ema_warmup", ""},
                                                                 {"horizontal_flip", ""},
                                                                 {"label_drop", ""},
                                                                 {"optimizer", ""}};

// What differs between the data of a checkpoint and these; empty if they are the same files.
std::string other_data(const checkpoint::Manifest& manifest, const data::Fingerprint& now) {
  const data::Fingerprint then{manifest.dataset_images_fingerprint, manifest.dataset_fingerprint};
  const bool both_known = !then.images.empty() && !now.images.empty(),
             same_images = both_known && then.images == now.images;
  if (then.files == now.files && (same_images || !both_known)) return "";
  return std::string(same_images ? "the same images in another packing, so in another order" : "other data") +
         " (now " + now.text() + "; the checkpoint's " + then.text() + ")";
}

std::string shown(const std::string& value) { return value.empty() ? "empty" : value; }

std::string flag_change(const std::string& name, const std::string& then, const std::string& now,
                        const TrainConfig& config) {
  std::string line =
      "--" + name + " was " + shown(then) + ", is " + shown(now) + ": the run goes on with " + shown(now);
  if (name == "steps" && config.schedule.lr_decay != "constant") line += ", and --lr decays until then";
  return line;
}

}  // namespace

void check_resumable(const checkpoint::Manifest& manifest, const TrainConfig& config,
                     const data::Fingerprint& fingerprint) {
  Problems problems;
  const auto same = [&](const std::string& what, const std::string& then, const std::string& now) {
    if (then != now)
      problems.push_back(what + " is " + shown(now) + ", the run's checkpoint was made with " + shown(then) +
                         ": a resume cannot change it. Give the old value, or another --run_dir.");
  };
  same("--seed", std::to_string(manifest.seed), std::to_string(config.seed));
  same("--data_groups", std::to_string(manifest.data_groups), std::to_string(config.data_groups));
  if (!config.allow_other_data) {
    const std::string other = other_data(manifest, fingerprint);
    if (!other.empty())
      problems.push_back("--train_data=" + config.train_data + " is not what the run was trained on: " + other +
                         ". Give the old data, or another --run_dir; --allow_other_data goes on with these.");
  }
  for (const auto& [name, now] : models::to_metadata(config.model)) {
    const auto then = manifest.model.find(name);
    if (name != "activation_checkpointing" && then != manifest.model.end())
      same("the network's " + name, then->second, now);
  }
  for (const auto& [name, before] : kOfTheRun) {
    const auto found = manifest.flags.find(name), now = config.flags.find(name);
    const std::string then = found == manifest.flags.end() ? before : found->second;
    if (!then.empty() && now != config.flags.end()) same("--" + name, then, now->second);
  }
  check_no_problems(problems);
}

std::vector<std::string> changes_since(const checkpoint::Manifest& manifest, const TrainConfig& config,
                                       const data::Fingerprint& fingerprint, const checkpoint::Metadata& last_bits) {
  std::vector<std::string> changes;
  const std::string other = other_data(manifest, fingerprint);
  if (!other.empty()) changes.push_back("--allow_other_data: the run goes on with " + other);
  for (const std::string& name : config.deciding_flags) {
    const auto then = manifest.flags.find(name), now = config.flags.find(name);
    if (then == manifest.flags.end() || now == config.flags.end() || then->second == now->second) continue;
    if (name == "steps" && config.steps <= manifest.progress.step) continue;  // nothing goes on: the end says so
    changes.push_back(flag_change(name, then->second, now->second, config));
  }
  if (manifest.source_revision != source_revision()) {
    changes.push_back("the program was built from " + manifest.source_revision + ", is from " + source_revision() +
                      ": the same samples and noise, other bits where its arithmetic changed");
  }
  for (const auto& [name, now] : last_bits) {
    const auto then = manifest.last_bits.find(name);
    if (then != manifest.last_bits.end() && then->second != now) {
      changes.push_back(name + " was " + then->second + ", is " + now +
                        ": the same samples and noise, other last bits");
    }
  }
  return changes;
}

bool resume(RunState& state, const TrainConfig& config, data::Fingerprint& fingerprint,
            const checkpoint::Metadata& last_bits, checkpoint::Store& store, const parallel::MpiSession& session) {
  const at::NoGradGuard no_grad;
  auto manifest = store.load_newest(parts_of(state, config, fingerprint), [&](const checkpoint::Manifest& found) {
    check_resumable(found, config, fingerprint);
  });
  if (!manifest) return false;
  state.at = manifest->progress;
  if (fingerprint.images.empty() && fingerprint.files == manifest->dataset_fingerprint)
    fingerprint.images = manifest->dataset_images_fingerprint;  // once known, not forgotten
  if (session.rank() == 0) {
    for (const std::string& change : changes_since(*manifest, config, fingerprint, last_bits)) say("resume: " + change);
  }
  return true;
}

void check_same_meaning(const checkpoint::WeightsInfo& info, const TrainConfig& config) {
  Problems problems;
  const auto same = [&](const std::string& what, const std::string& then, const std::string& now,
                        const std::string& remedy) {
    if (then != now)
      problems.push_back("--init_from=" + config.init_from + ": " + what + " was " + then + " there, is " + now +
                         " here: its weights would mean something else. " + remedy);
  };
  const auto then = models::to_metadata(info.model);
  for (const auto& [name, now] : models::to_metadata(config.model)) {
    if (kOfTrainingOnly.contains(name)) continue;
    same("the network's " + name, then.at(name), now,
         kOfTheData.contains(name) ? "Give --train_data of the same shape."
                                   : "Give --" + name + "=" + then.at(name) + ".");
  }
  const flow::Path& path = config.flow_config.path;
  same("the objective", info.objective, config.flow_config.objective, "Give --objective=" + info.objective + ".");
  same("the path", info.path, path.path, "Give --path=" + info.path + ".");
  for (const auto& [name, now] : flow::path_parameters(path)) {
    const auto found = info.path_parameters.find(name);
    if (info.path != path.path || name == "sigma_min" || found == info.path_parameters.end()) continue;
    same("the path's " + name, found->second, now, "Give --" + name + "=" + found->second + ".");
  }
  check_no_problems(problems);
}

void start_from_weights(RunState& state, const TrainConfig& config, const parallel::MpiSession& session) {
  if (config.init_from.empty()) return;
  checkpoint::WeightsInfo info;
  parallel::agree_on(session, [&] {
    info = checkpoint::weights_info(checkpoint::read_safetensors_metadata(config.init_from), config.init_from);
    check_same_meaning(info, config);
    const at::NoGradGuard no_grad;
    checkpoint::load_tensors(checkpoint::read_safetensors(config.init_from).tensors, state.parameters,
                             config.init_from);
    state.ema = models::Ema(config.ema, state.parameters);
  });
  if (session.rank() != 0) return;
  say("weights    " + config.init_from + ": " + checkpoint::weights_name(info) + " of step " +
      std::to_string(info.step));
  const std::string now = number_text(config.flow_config.path.sigma_min);
  const auto then = info.path_parameters.find("sigma_min");
  if (then != info.path_parameters.end() && then->second != now)
    say("weights    were trained with --sigma_min=" + then->second + ": the run goes on with " + now);
}

}  // namespace cfm::trainer
