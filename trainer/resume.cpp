#include "trainer/resume.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <charconv>

#include "base/log.h"
#include "base/source_revision.h"
#include "trainer/start_weights.h"

namespace cfm::trainer {
namespace {

// Both values of a flag, from where each is kept; nothing where the checkpoint does not say.
struct Values {
  std::string then, now;
};

std::optional<Values> values_of(const FlagRule& rule, const checkpoint::Manifest& manifest, const TrainConfig& config,
                                const checkpoint::Metadata& model_now) {
  const std::string name = rule.name;
  if (name == "seed") return Values{std::to_string(manifest.seed), std::to_string(config.seed)};
  if (name == "data_groups") return Values{std::to_string(manifest.data_groups), std::to_string(config.data_groups)};
  if (const auto of_model = model_now.find(name); of_model != model_now.end()) {
    const auto then = manifest.model.find(name);
    if (then == manifest.model.end()) return {};
    return Values{then->second, of_model->second};
  }
  const auto then = manifest.flags.find(name), now = config.flags.find(name);
  if (now == config.flags.end() || (then == manifest.flags.end() && *rule.before == '\0')) return {};
  return Values{then == manifest.flags.end() ? rule.before : then->second, now->second};
}

// The numbers of "0.9,0.99", ascending: each has a file of its own, whatever their order. Empty if it is something
// else.
std::vector<double> numbers_in(const std::string& text) {
  std::vector<double> numbers;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at < end) {
    double number = 0;
    const auto [stop, error] = std::from_chars(at, end, number);
    if (error != std::errc() || (stop < end && *stop != ',')) return {};
    numbers.push_back(number);
    at = stop < end ? stop + 1 : stop;
  }
  std::ranges::sort(numbers);
  return numbers;
}

// Whether a flag's values mean the same, or its change means nothing.
bool is_unchanged(const std::string& name, const Values& values) {
  if (values.then == values.now) return true;
  if (name == "init_from") return values.now.empty();  // of the start: it may go once there is a checkpoint
  const std::vector<double> now = name == "ema_decays" ? numbers_in(values.now) : std::vector<double>();
  return !now.empty() && numbers_in(values.then) == now;
}

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

std::string spelling(const FlagChange& change) {
  return rule_of(change.flag) == nullptr ? "the network's " + change.flag : "--" + change.flag;
}

// Where weights keep their meaning, a run of its own may begin from them.
std::string ways_out(const FlagChange& change, const TrainConfig& config) {
  if (rule_of(change.flag) == nullptr)
    return "Give data of the old shape, or another --run_dir for a run from nothing.";
  if (decides_meaning(change.flag, config))
    return "Give --" + change.flag + "=" + change.then + ", or another --run_dir for a run from nothing.";
  return "Give --" + change.flag + "=" + change.then + ", or begin a run of its own from these weights: another " +
         "--run_dir, and --branch_from=RUN@STEP.";
}

}  // namespace

std::string text_of(const FlagChange& change, const TrainConfig& config) {
  const std::string both = "--" + change.flag + " was " + shown(change.then) + ", is " + shown(change.now);
  if (change.flag == "init_from")
    return both +
           ": it has no effect, for the run goes on from its own checkpoint. To begin from those weights, give "
           "another --run_dir";
  const bool moves_decay = change.flag == "steps" && config.schedule.lr_decay != "constant";
  return both + ": the run goes on with " + shown(change.now) + (moves_decay ? ", and --lr decays until then" : "");
}

std::vector<FlagChange> flag_changes(const checkpoint::Manifest& manifest, const TrainConfig& config) {
  std::vector<FlagChange> changes;
  const checkpoint::Metadata model = models::to_metadata(config.model);
  for (const FlagRule& rule : flag_rules()) {
    const std::string name = rule.name;
    if (name == "check" || name == "branch_from") continue;
    const auto values = values_of(rule, manifest, config, model);
    if (!values || is_unchanged(name, *values)) continue;
    changes.push_back({name, values->then, values->now, name == "train_data" ? FlagClass::kFree : rule.flag_class});
  }
  for (const auto& [name, now] : model) {
    const auto then = manifest.model.find(name);
    if (rule_of(name) == nullptr && then != manifest.model.end() && then->second != now)
      changes.push_back({name, then->second, now, FlagClass::kFixed});
  }
  return changes;
}

Problems resume_problems(const checkpoint::Manifest& manifest, const TrainConfig& config,
                         const data::Fingerprint& fingerprint) {
  Problems problems;
  const std::string other = config.allow_other_data ? "" : other_data(manifest, fingerprint);
  if (!other.empty())
    problems.push_back("--train_data=" + config.train_data + " is not what the run was trained on: " + other +
                       ". Give the old data; or go on with these by --allow_other_data; or begin a run of its own: " +
                       "another --run_dir, and --branch_from=RUN@STEP.");
  for (const FlagChange& change : flag_changes(manifest, config)) {
    if (change.flag_class != FlagClass::kFixed) continue;
    problems.push_back(spelling(change) + " is " + shown(change.now) + ", the run's checkpoint was made with " +
                       shown(change.then) + ": a resume cannot change it. " + ways_out(change, config));
  }
  const std::string branch = branch_problem(manifest, config);
  if (!branch.empty()) problems.push_back(branch);
  return problems;
}

void check_resumable(const checkpoint::Manifest& manifest, const TrainConfig& config,
                     const data::Fingerprint& fingerprint) {
  check_no_problems(resume_problems(manifest, config, fingerprint));
}

std::vector<std::string> changes_since(const checkpoint::Manifest& manifest, const TrainConfig& config,
                                       const data::Fingerprint& fingerprint, const checkpoint::Metadata& last_bits) {
  std::vector<std::string> changes;
  const std::string other = other_data(manifest, fingerprint);
  if (!other.empty()) changes.push_back("--allow_other_data: the run goes on with " + other);
  for (const FlagChange& change : flag_changes(manifest, config)) {
    const FlagRule* const rule = rule_of(change.flag);
    if (change.flag_class == FlagClass::kFixed || rule == nullptr || !rule->said) continue;
    if (change.flag == "steps" && config.steps <= manifest.progress.step) continue;  // nothing goes on: the end says so
    changes.push_back(text_of(change, config));
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

std::vector<FlagChange> changes_to_record(const checkpoint::Manifest& manifest, const TrainConfig& config,
                                          const data::Fingerprint& fingerprint) {
  if (config.steps <= manifest.progress.step) return {};
  std::vector<FlagChange> record = flag_changes(manifest, config);
  std::erase_if(record, [&](const FlagChange& change) {
    const bool moves_decay = change.flag == "steps" && config.schedule.lr_decay != "constant";
    return change.flag_class != FlagClass::kContinuing && !moves_decay;
  });
  if (!other_data(manifest, fingerprint).empty()) {
    const data::Fingerprint then{manifest.dataset_images_fingerprint, manifest.dataset_fingerprint};
    record.push_back({"train_data", then.text(), fingerprint.text(), FlagClass::kFixed});
  }
  return record;
}

std::optional<std::vector<FlagChange>> resume(RunState& state, const TrainConfig& config,
                                              data::Fingerprint& fingerprint, const checkpoint::Metadata& last_bits,
                                              checkpoint::Store& store, const parallel::MpiSession& session) {
  const at::NoGradGuard no_grad;
  auto manifest = store.load_newest(parts_of(state, config, fingerprint), [&](const checkpoint::Manifest& found) {
    check_resumable(found, config, fingerprint);
  });
  if (!manifest) return {};
  state.at = manifest->progress;
  state.branched_from = manifest->branched_from;
  if (fingerprint.images.empty() && fingerprint.files == manifest->dataset_fingerprint)
    fingerprint.images = manifest->dataset_images_fingerprint;  // once known, not forgotten
  if (session.rank() == 0) {
    for (const std::string& change : changes_since(*manifest, config, fingerprint, last_bits)) say("resume: " + change);
  }
  return changes_to_record(*manifest, config, fingerprint);
}

}  // namespace cfm::trainer
