// Every flag of cfm_train has one class, and it is what a resume acts by.

#include "trainer/flag_classes.h"

#include <gflags/gflags.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

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
      {"label_drop", {"--label_drop=0.5", "--num_classes=10"}},
      {"logit_mean", {"--logit_mean=1", "--time_sampling=logit_normal"}},
      {"logit_std", {"--logit_std=2", "--time_sampling=logit_normal"}},
      {"lr_decay", {"--lr_decay=cosine"}},
      {"lr_floor", {"--lr_floor=1e-9"}},
      {"metrics", {"--metrics="}},
      {"metrics_textfile", {"--metrics_textfile=x.prom"}},
      {"model_channels", {"--model_channels=64"}},
      {"num_heads", {"--num_heads=2"}},
      {"null_class", {"--null_class=false", "--num_classes=10"}},
      {"num_head_channels", {"--num_head_channels=32"}},
      {"objective", {"--objective=ddpm", "--path=vp"}},
      {"optimizer", {"--optimizer=adamw"}},
      {"ot_block", {"--ot_block=4", "--coupling=minibatch_ot"}},
      {"path", {"--path=cosine"}},
      {"polynomial_n", {"--polynomial_n=3", "--path=polynomial"}},
      {"precision", {"--precision=bf16"}},
      {"solver", {"--solver=euler"}},
      {"time_sampling", {"--time_sampling=logit_normal"}},
      {"train_data", {}},
      {"run_dir", {}},
      {"global_batch", {}},
      {"val_every", {"--val_every=5", "--val_data=v"}},
      {"ve_smax", {"--ve_smax=50", "--path=ve"}},
      {"ve_smin", {"--ve_smin=0.01", "--path=ve"}},
      {"vp_b0", {"--vp_b0=0.2", "--path=vp"}},
      {"vp_b1", {"--vp_b1=10", "--path=vp"}},
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

// Of flags alone: what the data and another run decide has tests with runs (changed_flags_test, branch_test).
TEST(FlagClasses, AreWhatAResumeOfAChangedCommandDoes) {
  const TrainConfig then = config_of({"--steps=1000"});
  const std::set<std::string> elsewhere{"train_data", "run_dir", "global_batch", "data_groups", "branch_from",
                                        "check",      "steps",   "null_class",   "label_drop",  "num_heads_upsample"};
  std::map<FlagClass, int> seen;
  for (const FlagSetting& flag : flag_settings(program_help())) {
    if (elsewhere.contains(flag.name)) continue;
    SCOPED_TRACE(flag.name);
    std::vector<std::string> changed = with_another_value(flag);
    changed.emplace_back("--steps=1000");
    const TrainConfig now = config_of(changed);
    const bool refused = !resume_problems(manifest_of(then), now, {}).empty();
    bool recorded = false;
    for (const FlagChange& change : changes_to_record(manifest_of(then), now, {}))
      recorded = recorded || change.flag == flag.name;
    const FlagClass expected = rule_of(flag.name)->flag_class;
    EXPECT_EQ(refused, expected == FlagClass::kFixed);
    EXPECT_EQ(recorded, expected == FlagClass::kContinuing);
    ++seen[expected];
  }
  EXPECT_GT(seen[FlagClass::kFree], 25);
  EXPECT_GT(seen[FlagClass::kContinuing], 8);
  EXPECT_GT(seen[FlagClass::kFixed], 25);
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
