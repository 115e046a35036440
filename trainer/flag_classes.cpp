#include "trainer/flag_classes.h"

#include <algorithm>
#include <iterator>

namespace cfm::trainer {
namespace {

constexpr FlagClass kFree = FlagClass::kFree, kContinuing = FlagClass::kContinuing, kFixed = FlagClass::kFixed;
constexpr bool kSaid = true, kUnsaid = false;

constexpr FlagRule kRules[]{
    // run
    {"allow_other_data", kFree, kUnsaid},
    {"branch_from", kFixed},  // of the start; compared with what the checkpoint says (resume.cpp)
    {"check", kFree, kUnsaid},
    {"device", kFree, kUnsaid},   // last_bits says it
    {"init_from", kFree, kSaid},  // of the start: that another one has no effect now is said (resume.cpp)
    {"lease_seconds", kFree, kUnsaid},
    {"run_dir", kFree, kUnsaid},
    {"seed", kFixed},
    {"step_timeout", kFree, kUnsaid},
    {"steps", kFree, kSaid},
    {"threads", kFree, kUnsaid},  // last_bits says it
    // data
    {"data_groups", kFixed},  // 0 means those of the run
    {"global_batch", kContinuing},
    {"horizontal_flip", kFixed},
    {"micro_batch", kFree, kSaid},
    {"train_data", kFixed},  // by its fingerprint: the folder may move
    {"val_data", kFree, kSaid},
    // reading
    {"data_mode", kFree, kUnsaid},
    {"loader_threads", kFree, kUnsaid},
    {"ranks_per_node", kFree, kUnsaid},
    {"stage_dir", kFree, kUnsaid},
    {"verify_data", kFree, kUnsaid},
    // flow
    {"coupling", kFixed, kSaid, "independent"},
    {"label_drop", kFixed},
    {"logit_mean", kFixed},
    {"logit_std", kFixed},
    {"objective", kFixed, kSaid, "fm"},
    {"ot_block", kFixed},
    {"path", kFixed, kSaid, "ot"},
    {"polynomial_n", kFixed},
    {"sigma_min", kFixed},
    {"stratified", kFixed, kSaid, "false"},
    {"time_sampling", kFixed, kSaid, "uniform"},
    {"ve_smax", kFixed},
    {"ve_smin", kFixed},
    {"vp_b0", kFixed},
    {"vp_b1", kFixed},
    // network: compared as the checkpoint's model (resume.cpp)
    {"activation_checkpointing", kFree, kSaid},
    {"attention_resolutions", kFixed},
    {"channel_mult", kFixed},
    {"conv_resample", kFixed},
    {"dropout", kFixed},
    {"model_channels", kFixed},
    {"null_class", kFixed},
    {"num_classes", kFixed},
    {"num_head_channels", kFixed},
    {"num_heads", kFixed},
    {"num_heads_upsample", kFixed},
    {"num_res_blocks", kFixed},
    {"resblock_updown", kFixed},
    {"time_scale", kFixed},
    {"use_new_attention_order", kFixed},
    {"use_scale_shift_norm", kFixed},
    {"zero_init", kFixed},
    // optimizer
    {"adam_eps", kContinuing},
    {"beta1", kContinuing},
    {"beta2", kContinuing},
    {"channels_last", kFree, kSaid},
    {"clip_norm", kContinuing},
    {"ema_decays", kFixed},
    {"ema_warmup", kFixed},
    {"lr", kContinuing},
    {"lr_decay", kContinuing},
    {"lr_floor", kContinuing},
    {"max_skipped", kFree, kSaid},
    {"optimizer", kFixed},
    {"precision", kContinuing},
    {"warmup_steps", kContinuing},
    {"weight_decay", kContinuing},
    // output
    {"async_checkpoints", kFree, kUnsaid},
    {"checkpoint_every", kFree, kUnsaid},
    {"keep_every", kFree, kUnsaid},
    {"keep_last", kFree, kUnsaid},
    {"keep_unevaluated", kFree, kUnsaid},
    {"log_every", kFree, kUnsaid},
    {"net_batch", kFree, kUnsaid},
    {"sample_every", kFree, kUnsaid},
    {"solver", kFree, kUnsaid},
    {"solver_steps", kFree, kUnsaid},
    {"val_every", kFree, kUnsaid},
    {"val_images", kFree, kUnsaid},
    // metrics
    {"metrics", kFree, kUnsaid},
    {"metrics_advertise", kFree, kUnsaid},
    {"metrics_run", kFree, kUnsaid},
    {"metrics_targets", kFree, kUnsaid},
    {"metrics_textfile", kFree, kUnsaid},
};

}  // namespace

std::span<const FlagRule> flag_rules() { return kRules; }

const FlagRule* rule_of(const std::string& name) {
  const auto* const found =
      std::find_if(std::begin(kRules), std::end(kRules), [&](const FlagRule& rule) { return name == rule.name; });
  return found == std::end(kRules) ? nullptr : found;
}

const char* class_name(FlagClass flag_class) {
  switch (flag_class) {
    case FlagClass::kFree:
      return "free";
    case FlagClass::kContinuing:
      return "continuing";
    case FlagClass::kFixed:
      return "fixed";
  }
  return "";
}

}  // namespace cfm::trainer
