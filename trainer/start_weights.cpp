#include "trainer/start_weights.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <charconv>
#include <set>

#include "base/hash.h"
#include "base/log.h"
#include "base/number_text.h"
#include "checkpoint/input_file.h"
#include "checkpoint/readers.h"
#include "checkpoint/store.h"

namespace cfm::trainer {
namespace {

namespace fs = std::filesystem;

// Fields of the network that do not change what weights mean.
const std::set<std::string> kOfTrainingOnly{"activation_checkpointing", "dropout", "zero_init"};
// Fields that follow from the data.
const std::set<std::string> kOfTheData{"image_size", "in_channels", "out_channels"};

std::string branch_text(const TrainConfig& config) { return "--branch_from=" + config.branch_from; }

std::string listed(const std::vector<int64_t>& steps) {
  std::string text;
  for (const int64_t step : steps) text += (text.empty() ? "" : ", ") + std::to_string(step);
  return text;
}

// The committed checkpoint that --branch_from names.
fs::path checkpoint_of(const BranchPoint& point, const std::string& given) {
  check(fs::is_directory(point.run), given + ": there is no run " + point.run.string() + "; expected its folder");
  const std::vector<int64_t> steps = checkpoint::committed_steps(point.run);
  check(!steps.empty(), given + ": " + point.run.string() + " has no checkpoints");
  check(std::ranges::find(steps, point.step) != steps.end(),
        given + ": " + point.run.string() + " has no checkpoint of step " + std::to_string(point.step) +
            "; there are those of steps " + listed(steps));
  return checkpoint::checkpoints_folder(point.run) / checkpoint::step_name(point.step);
}

std::string manifest_hash(const fs::path& folder) {
  const std::string text = checkpoint::whole_file(folder / "manifest.json");
  return xxh3_128_hex(text.data(), text.size());
}

fs::path absolute_folder(const fs::path& run) {
  std::error_code error;
  const fs::path found = fs::weakly_canonical(run, error);
  return error ? fs::absolute(run) : found;
}

checkpoint::WeightsInfo load_weights(const fs::path& file, const TrainConfig& config, const std::string& given,
                                     RunState& state) {
  checkpoint::WeightsInfo info = checkpoint::weights_info(checkpoint::read_safetensors_metadata(file), file.string());
  check_same_meaning(info, config, given);
  const at::NoGradGuard no_grad;
  checkpoint::load_tensors(checkpoint::read_safetensors(file).tensors, state.parameters, file.string());
  state.ema = models::Ema(config.ema, state.parameters);
  return info;
}

// Each average from that of the same decay, if the checkpoint has it. Returns the names of those that it has not.
std::vector<std::string> load_averages(const fs::path& from, RunState& state) {
  std::vector<std::string> missing;
  const at::NoGradGuard no_grad;
  for (size_t i = 0; i < state.ema.decays().size(); ++i) {
    const std::string name = "ema_" + number_text(state.ema.decays()[i]);
    const fs::path file = from / (name + ".safetensors");
    if (fs::exists(file)) {
      checkpoint::load_tensors(checkpoint::read_safetensors(file).tensors, state.ema.average(i), file.string());
    } else {
      missing.push_back(name);
    }
  }
  return missing;
}

// What is loaded, as this rank's own machine reads it: rank 0 has verified the whole checkpoint.
void verify_what_is_loaded(const fs::path& from, const checkpoint::Manifest& manifest) {
  for (const checkpoint::FileRecord& file : manifest.files)
    if (!file.name.starts_with("exp_avg")) checkpoint::verify_after_rank_0(from / file.name, file);
}

void say_sigma_min(const checkpoint::WeightsInfo& info, const TrainConfig& config) {
  const std::string now = number_text(config.flow_config.path.sigma_min);
  const auto then = info.path_parameters.find("sigma_min");
  if (then != info.path_parameters.end() && then->second != now)
    say("weights    were trained with --sigma_min=" + then->second + ": the run goes on with " + now);
}

checkpoint::HeldStep hold_verified(const BranchPoint& point, const std::string& given) {
  checkpoint::HeldStep held = checkpoint::hold_chosen(point.run, [&] {
    checkpoint_of(point, given);
    return point.step;
  });
  const fs::path from = checkpoint_of(point, given);
  checkpoint::verify_checkpoint(from, checkpoint::read_manifest(from));
  return held;
}

void branch(RunState& state, const TrainConfig& config, const parallel::MpiSession& session) {
  const std::string given = branch_text(config);
  const BranchPoint point = branch_point(config.branch_from);
  checkpoint::WeightsInfo info;
  std::vector<std::string> missing;
  checkpoint::HeldStep held;  // rank 0's: the other run's trainer does not delete what is being read
  parallel::agree_on(session, [&] {
    if (session.rank() == 0) held = hold_verified(point, given);
  });
  parallel::agree_on(session, [&] {
    const fs::path from = checkpoint_of(point, given);
    const checkpoint::Manifest manifest = checkpoint::read_manifest(from);
    if (session.rank() != 0) verify_what_is_loaded(from, manifest);
    info = load_weights(from / "model.safetensors", config, given, state);
    missing = load_averages(from, state);
    state.branched_from = checkpoint::Branch{
        .run = absolute_folder(point.run).string(),
        .step = point.step,
        .manifest_hash = manifest_hash(from),
        .updates = manifest.progress.optimizer_steps + (manifest.branched_from ? manifest.branched_from->updates : 0)};
  });
  if (session.rank() != 0) return;
  say("weights    " + config.branch_from + ": weights and averages of step " + std::to_string(info.step) +
      "; the run begins at step 0 with fresh moments");
  for (const std::string& name : missing) say("weights    " + name + " is not there: it begins as the weights");
  say_sigma_min(info, config);
}

}  // namespace

void check_same_meaning(const checkpoint::WeightsInfo& info, const TrainConfig& config, const std::string& given) {
  Problems problems;
  const auto same = [&](const std::string& what, const std::string& then, const std::string& now,
                        const std::string& remedy) {
    if (then != now)
      problems.push_back(given + ": " + what + " was " + then + " there, is " + now +
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

bool decides_meaning(const std::string& flag, const TrainConfig& config) {
  if (flag == "path" || flag == "objective") return true;
  if (flag != "sigma_min" && flow::path_parameters(config.flow_config.path).contains(flag)) return true;
  return models::to_metadata(config.model).contains(flag) && !kOfTrainingOnly.contains(flag);
}

BranchPoint branch_point(const std::string& text) {
  const size_t at = text.rfind('@');
  BranchPoint point;
  if (at != std::string::npos && at > 0) {
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data() + at + 1, end, point.step);
    point.run = text.substr(0, at);
    if (error == std::errc() && stop == end && point.step >= 0) return point;
  }
  throw Error("--branch_from=" + text +
              ": expected RUN@STEP, the folder of a run and the step of one of its checkpoints");
}

std::string branch_problem(const checkpoint::Manifest& manifest, const TrainConfig& config) {
  if (config.branch_from.empty()) return "";
  const BranchPoint point = branch_point(config.branch_from);
  const auto& began = manifest.branched_from;
  if (began && began->step == point.step) {
    if (began->run == absolute_folder(point.run).string()) return "";
    const fs::path from = checkpoint::checkpoints_folder(point.run) / checkpoint::step_name(point.step);
    std::error_code error;
    if (fs::exists(from / "manifest.json", error) && manifest_hash(from) == began->manifest_hash) return "";  // moved
  }
  return branch_text(config) + ": the run in " + config.run_dir + " has checkpoints of its own, and " +
         (began ? "began from " + began->run + "@" + std::to_string(began->step) : "did not begin from another run") +
         ". Leave the flag out to go on with it, or give another --run_dir.";
}

void start_from_weights(RunState& state, const TrainConfig& config, const parallel::MpiSession& session) {
  if (!config.branch_from.empty()) branch(state, config, session);
  if (config.init_from.empty()) return;
  checkpoint::WeightsInfo info;
  parallel::agree_on(session,
                     [&] { info = load_weights(config.init_from, config, "--init_from=" + config.init_from, state); });
  if (session.rank() != 0) return;
  say("weights    " + config.init_from + ": " + checkpoint::weights_name(info) + " of step " +
      std::to_string(info.step));
  say_sigma_min(info, config);
}

}  // namespace cfm::trainer
