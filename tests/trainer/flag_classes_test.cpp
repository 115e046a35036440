// Every flag of cfm_train has one class, and it is what a resume acts by.

#include "trainer/flag_classes.h"

#include <gflags/gflags.h>
#include <gtest/gtest.h>

#include <map>
#include <set>
#include <sstream>

#include "trainer/flags.h"
#include "trainer/resume.h"

namespace cfm::trainer {
namespace {

TrainConfig config_of(std::vector<std::string> flags) {
  const gflags::FlagSaver defaults_again;
  flags.insert(flags.end(), {"--run_dir=r", "--train_data=d", "--global_batch=8"});
  return *read_flags(flags);
}

checkpoint::Manifest manifest_of(const TrainConfig& config) {
  checkpoint::Manifest manifest;
  manifest.progress.step = 100;
  manifest.flags = config.flags;
  manifest.data_groups = config.data_groups;
  manifest.model = models::to_metadata(config.model);
  return manifest;
}

// The class of every flag, written down beside the program's own table from what each class is for. Free is how a run
// is carried out: its length, ranks and micro-batches, logging and retention. Continuing is the learning rate with its
// schedule, clipping, the batch. Fixed is the data, the seed, the groups, path and objective, the network, the
// averages.
const std::map<std::string, FlagClass>& classes() {
  const auto add = [](std::map<std::string, FlagClass>& all, FlagClass flag_class, const std::string& names) {
    std::istringstream words(names);
    for (std::string name; words >> name;) all[name] = flag_class;
  };
  static const std::map<std::string, FlagClass> all = [&] {
    std::map<std::string, FlagClass> them;
    // where, how long, on what
    add(them, FlagClass::kFree, "run_dir steps check device threads step_timeout lease_seconds allow_other_data");
    add(them, FlagClass::kFree, "init_from");  // of a run that has no checkpoint yet
    add(them, FlagClass::kFree, "micro_batch loader_threads data_mode verify_data stage_dir ranks_per_node");
    add(them, FlagClass::kFree, "channels_last activation_checkpointing max_skipped");
    // what is looked at, written and kept
    add(them, FlagClass::kFree, "log_every val_data val_every val_images sample_every solver solver_steps net_batch");
    add(them, FlagClass::kFree, "checkpoint_every async_checkpoints keep_last keep_every keep_unevaluated");
    add(them, FlagClass::kFree, "metrics metrics_advertise metrics_run metrics_targets metrics_textfile");
    // how it learns from here on
    add(them, FlagClass::kContinuing, "lr warmup_steps lr_decay lr_floor clip_norm global_batch");
    add(them, FlagClass::kContinuing, "beta1 beta2 adam_eps weight_decay precision");
    // what it is
    add(them, FlagClass::kFixed, "train_data horizontal_flip seed data_groups branch_from");
    add(them, FlagClass::kFixed, "path sigma_min vp_b0 vp_b1 ve_smin ve_smax polynomial_n objective");
    add(them, FlagClass::kFixed, "time_sampling stratified logit_mean logit_std coupling ot_block label_drop");
    add(them, FlagClass::kFixed, "model_channels num_res_blocks channel_mult attention_resolutions num_heads");
    add(them, FlagClass::kFixed, "num_head_channels num_heads_upsample use_new_attention_order conv_resample");
    add(them, FlagClass::kFixed, "use_scale_shift_norm resblock_updown zero_init dropout num_classes null_class");
    add(them, FlagClass::kFixed, "time_scale optimizer ema_decays ema_warmup");
    return them;
  }();
  return all;
}

TEST(FlagClasses, AreThoseOfWhatEachFlagIsFor) {
  for (const FlagRule& rule : flag_rules()) {
    const auto expected = classes().find(rule.name);
    ASSERT_NE(expected, classes().end()) << "--" << rule.name << ": write down here what it is";
    EXPECT_STREQ(class_name(rule.flag_class), class_name(expected->second)) << "--" << rule.name;
  }
  EXPECT_EQ(classes().size(), flag_rules().size());
}

TEST(FlagClasses, EveryFlagOfTheProgramHasExactlyOne) {
  std::map<std::string, int> rules;
  for (const FlagRule& rule : flag_rules()) ++rules[rule.name];
  std::set<std::string> flags;
  for (const FlagSetting& flag : flag_settings(program_help())) {
    flags.insert(flag.name);
    EXPECT_EQ(rules[flag.name], 1) << "--" << flag.name << ": write its class down in trainer/flag_classes.cpp";
  }
  for (const auto& [name, count] : rules) EXPECT_TRUE(flags.contains(name)) << name << " is no flag of cfm_train";
  EXPECT_GT(flags.size(), 80U);
}

TEST(FlagClasses, StandBehindEachFlagOfTheHelp) {
  const std::string help = help_text(program_help());
  const auto entry = [&](const std::string& flag) {
    const size_t at = help.find("\n  --" + flag + "=");
    return help.substr(at, help.find("\n  --", at + 1) - at);
  };
  EXPECT_NE(entry("lr").find("[continuing]"), std::string::npos) << entry("lr");
  EXPECT_NE(entry("seed").find("[fixed]"), std::string::npos) << entry("seed");
  EXPECT_EQ(entry("log_every").find('['), std::string::npos) << entry("log_every");
}

// A value that each flag may have beside its default, where one is needed to be legal.
std::vector<std::string> with_another_value(const FlagSetting& flag) {
  static const std::map<std::string, std::vector<std::string>> kOwn{
      {"adam_eps", {"--adam_eps=1e-6"}},
      {"attention_resolutions", {"--attention_resolutions=8"}},
      {"branch_from", {"--branch_from=other@3"}},
      {"channel_mult", {"--channel_mult=1,2"}},
      {"coupling", {"--coupling=minibatch_ot"}},
      {"data_groups", {"--data_groups=2"}},
      {"data_mode", {"--data_mode=pread"}},
      {"device", {"--device=cpu"}},
      {"dropout", {"--dropout=0.5"}},
      {"ema_decays", {"--ema_decays=0.9"}},
      {"label_drop", {"--label_drop=0.5"}},
      {"lr_decay", {"--lr_decay=cosine"}},
      {"lr_floor", {"--lr_floor=1e-9"}},
      {"metrics", {"--metrics="}},
      {"metrics_textfile", {"--metrics_textfile=x.prom"}},
      {"model_channels", {"--model_channels=64"}},
      {"num_heads", {"--num_heads=2"}},
      {"num_head_channels", {"--num_head_channels=32"}},
      {"objective", {"--objective=ddpm", "--path=vp"}},
      {"optimizer", {"--optimizer=adamw"}},
      {"path", {"--path=cosine"}},
      {"precision", {"--precision=bf16"}},
      {"solver", {"--solver=euler"}},
      {"time_sampling", {"--time_sampling=logit_normal"}},
      {"train_data", {}},
      {"run_dir", {}},
      {"global_batch", {}},
      {"val_every", {"--val_every=5", "--val_data=v"}},
  };
  if (const auto own = kOwn.find(flag.name); own != kOwn.end()) return own->second;
  const std::string& now = flag.default_value;
  if (now == "true") return {"--" + flag.name + "=false"};
  if (now == "false") return {"--" + flag.name + "=true"};
  if (now.find('.') != std::string::npos || now.find("e-") != std::string::npos)
    return {"--" + flag.name + "=" + std::to_string(std::stod(now) * 0.5)};
  if (now == "-1") return {"--" + flag.name + "=2"};
  if (now.empty()) return {"--" + flag.name + "=somewhere"};
  return {"--" + flag.name + "=" + std::to_string(std::stol(now) + 1)};
}

// What both commands have, so that a flag means something.
std::vector<std::string> companions_of(const std::string& flag) {
  static const std::map<std::string, std::vector<std::string>> kOwn{
      {"label_drop", {"--num_classes=10"}},
      {"logit_mean", {"--time_sampling=logit_normal"}},
      {"logit_std", {"--time_sampling=logit_normal"}},
      {"null_class", {"--num_classes=10"}},
      {"ot_block", {"--coupling=minibatch_ot"}},
      {"polynomial_n", {"--path=polynomial"}},
      {"ve_smax", {"--path=ve"}},
      {"ve_smin", {"--path=ve"}},
      {"vp_b0", {"--path=vp"}},
      {"vp_b1", {"--path=vp"}},
  };
  std::vector<std::string> flags{"--steps=1000"};
  if (const auto own = kOwn.find(flag); own != kOwn.end())
    flags.insert(flags.end(), own->second.begin(), own->second.end());
  return flags;
}

// Of flags alone: what the data and another run decide has tests with runs (changed_flags_test, branch_test).
TEST(FlagClasses, AreWhatAResumeOfAChangedCommandDoes) {
  const std::set<std::string> elsewhere{"train_data",  "run_dir", "global_batch", "data_groups",
                                        "branch_from", "check",   "steps",        "num_heads_upsample"};
  std::map<FlagClass, int> seen;
  for (const FlagSetting& flag : flag_settings(program_help())) {
    if (elsewhere.contains(flag.name)) continue;
    SCOPED_TRACE(flag.name);
    std::vector<std::string> changed = companions_of(flag.name);
    const TrainConfig then = config_of(changed);
    for (const std::string& other : with_another_value(flag)) changed.push_back(other);
    const TrainConfig now = config_of(changed);
    const bool refused = !resume_problems(manifest_of(then), now, {}).empty();
    bool recorded = false;
    for (const FlagChange& change : changes_to_record(manifest_of(then), now, {}))
      recorded = recorded || change.flag == flag.name;
    const FlagClass expected = classes().at(flag.name);
    EXPECT_EQ(refused, expected == FlagClass::kFixed);
    EXPECT_EQ(recorded, expected == FlagClass::kContinuing);
    ++seen[expected];
  }
  EXPECT_GT(seen[FlagClass::kFree], 25);
  EXPECT_GT(seen[FlagClass::kContinuing], 8);
  EXPECT_GT(seen[FlagClass::kFixed], 25);
}

TEST(FlagClasses, AChangedBatchSizeIsRecordedAndNotRefused) {
  const gflags::FlagSaver defaults_again;
  const TrainConfig then = config_of({"--steps=1000"});
  const TrainConfig now = *read_flags({"--run_dir=r", "--train_data=d", "--steps=1000", "--global_batch=16"});
  EXPECT_TRUE(resume_problems(manifest_of(then), now, {}).empty());
  const std::vector<FlagChange> record = changes_to_record(manifest_of(then), now, {});
  ASSERT_EQ(record.size(), 1U);
  EXPECT_EQ(record[0].flag, "global_batch");
  EXPECT_EQ(record[0].then, "8");
  EXPECT_EQ(record[0].now, "16");
}

TEST(FlagClasses, DecaysAreTheSameNumbersHoweverTheyAreWritten) {
  const auto refused = [](const std::string& then, const std::string& now) {
    const checkpoint::Manifest manifest = manifest_of(config_of({"--steps=1000", "--ema_decays=" + then}));
    return !resume_problems(manifest, config_of({"--steps=1000", "--ema_decays=" + now}), {}).empty();
  };
  EXPECT_FALSE(refused("0.9,0.99", "0.90,0.99"));
  EXPECT_FALSE(refused("0.9,0.99", "0.99,0.9"));
  EXPECT_FALSE(refused("0.9999", "9.999e-1"));
  EXPECT_FALSE(refused("", ""));
  EXPECT_TRUE(refused("0.9,0.99", "0.9"));
  EXPECT_TRUE(refused("0.9,0.99", "0.9,0.999"));
  EXPECT_TRUE(refused("0.9", ""));
  EXPECT_TRUE(refused("", "0.9"));
}

TEST(FlagClasses, ARefusalNamesTheWayToARunOfItsOwnWhereWeightsKeepTheirMeaning) {
  const TrainConfig then = config_of({"--steps=1000"});
  const auto refusal = [&](const std::vector<std::string>& flags) {
    std::vector<std::string> all = flags;
    all.emplace_back("--steps=1000");
    std::string text;
    for (const std::string& problem : resume_problems(manifest_of(then), config_of(all), {})) text += problem + "\n";
    return text;
  };
  EXPECT_NE(refusal({"--sigma_min=0.5"}).find("--branch_from=RUN@STEP"), std::string::npos);
  EXPECT_NE(refusal({"--dropout=0.5"}).find("--branch_from=RUN@STEP"), std::string::npos);
  for (const std::string meaning : {"--path=cosine", "--model_channels=64"}) {
    const std::string text = refusal({meaning});
    EXPECT_NE(text.find("another --run_dir"), std::string::npos) << text;
    EXPECT_EQ(text.find("--branch_from"), std::string::npos) << text;
  }
}

TEST(FlagClasses, MoreStepsAreRecordedWhereADecayEndsWithThem) {
  const auto recorded = [](const std::string& decay) {
    const TrainConfig then = config_of({"--steps=1000", decay}), now = config_of({"--steps=2000", decay});
    return changes_to_record(manifest_of(then), now, {}).size();
  };
  EXPECT_EQ(recorded("--lr_decay=cosine"), 1U);
  EXPECT_EQ(recorded("--lr_decay=constant"), 0U);
}

}  // namespace
}  // namespace cfm::trainer
