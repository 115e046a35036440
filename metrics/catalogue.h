#pragma once
// Every series that our programs export: name, kind, labels, what it is. docs/metrics.md is made of this table, a
// series that is not in it cannot be exported, and a test holds dashboards and alerts to it.

#include <array>
#include <string_view>

namespace cfm::metrics {

enum class Kind { kGauge, kCounter };  // a counter starts at 0 in every process
// From a trainer's rank 0; from the first rank of each node; from an evaluator's rank 0.
enum class Scope { kRun, kNode, kEvaluation };

struct SeriesInfo {
  std::string_view name;  // with its unit; a counter ends in _total
  Kind kind;
  Scope scope;
  std::string_view labels;  // "phase over"; beside run, which all have
  std::string_view help;
};

inline constexpr auto kCatalogue = std::to_array<SeriesInfo>({
    // where the run stands
    {"cfm_step", Kind::kGauge, Scope::kRun, "", "Steps made, skipped updates included."},
    {"cfm_last_step", Kind::kGauge, Scope::kRun, "", "Steps that the run is to make (--steps)."},
    {"cfm_images_seen", Kind::kGauge, Scope::kRun, "", "Images trained on, over all starts of the run."},
    {"cfm_epoch", Kind::kGauge, Scope::kRun, "", "cfm_images_seen over the images of the data set."},
    {"cfm_eta_seconds", Kind::kGauge, Scope::kRun, "", "Seconds to the last step at the speed of the last steps."},
    {"cfm_steps_total", Kind::kCounter, Scope::kRun, "", "Steps made by this process."},
    {"cfm_images_total", Kind::kCounter, Scope::kRun, "", "Images trained on by this process."},
    {"cfm_attempt", Kind::kGauge, Scope::kRun, "", "Which start of the run this is: 1 is the first."},
    {"cfm_stage", Kind::kGauge, Scope::kRun, "stage",
     "What the run is at, 1 for one of data (opened, copied), weights (made, loaded from the checkpoint), training and "
     "held-out (losses, samples)."},
    {"cfm_lost_steps", Kind::kGauge, Scope::kRun, "",
     "Steps that the start before had made beyond the checkpoint that this one began from, as far as it logged them: "
     "up to --log_every - 1 too few."},
    {"cfm_lost_seconds", Kind::kGauge, Scope::kRun, "",
     "How long it was at these, from its line of that checkpoint's step in RUN/events.jsonl to its last line."},
    {"cfm_goodput_ratio", Kind::kGauge, Scope::kRun, "",
     "Seconds of steps whose update was made, over seconds since this process began, its set-up included."},
    {"cfm_start_time_seconds", Kind::kGauge, Scope::kRun, "", "When this process began, in seconds since 1970."},
    {"cfm_ranks", Kind::kGauge, Scope::kRun, "", "MPI ranks."},
    // what the network learns
    {"cfm_loss", Kind::kGauge, Scope::kRun, "", "Training loss of the last step."},
    {"cfm_loss_by_time", Kind::kGauge, Scope::kRun, "bin",
     "Training loss for t in the bin's tenth of 0 (noise) to 1 (data): mean over the images of the last --log_every "
     "steps."},
    {"cfm_gradient_norm", Kind::kGauge, Scope::kRun, "", "Norm of the last step's gradient, before clipping."},
    {"cfm_learning_rate", Kind::kGauge, Scope::kRun, "", "Of the last step."},
    {"cfm_ema_decay", Kind::kGauge, Scope::kRun, "decay",
     "By which the last update decayed the average of that decay: less at first, while it warms up."},
    {"cfm_skipped_updates_total", Kind::kCounter, Scope::kRun, "",
     "Updates that were skipped because a loss or a gradient was not finite."},
    {"cfm_validation_loss", Kind::kGauge, Scope::kRun, "weights", "Loss on held-out images."},
    {"cfm_validation_loss_by_time", Kind::kGauge, Scope::kRun, "weights bin",
     "The same for t in the bin's tenth of 0 (noise) to 1 (data)."},
    {"cfm_validation_step", Kind::kGauge, Scope::kRun, "", "Step of the last losses on held-out images."},
    // where the time goes
    {"cfm_images_per_second", Kind::kGauge, Scope::kRun, "", "Over all ranks, smoothed over the last steps."},
    {"cfm_step_seconds", Kind::kGauge, Scope::kRun, "", "Of the last step, on the slowest rank."},
    {"cfm_phase_seconds", Kind::kGauge, Scope::kRun, "phase over",
     "Seconds of the last step in a phase: min, mean and max over ranks. all_reduce: what backward did not hide. "
     "checkpoint: how long training stood still for saves, since the step before. On GPUs by their own "
     "clock."},
    {"cfm_phase_seconds_total", Kind::kCounter, Scope::kRun, "phase",
     "Seconds in a phase, the mean over ranks, by this process."},
    {"cfm_slowest_rank", Kind::kGauge, Scope::kRun, "",
     "Rank whose last step took longest without its waiting for others and for saves."},
    {"cfm_slowest_rank_lag_ratio", Kind::kGauge, Scope::kRun, "",
     "How much longer that took than the mean of all ranks: 0 is no longer."},
    // checkpoints
    {"cfm_checkpoint_step", Kind::kGauge, Scope::kRun, "", "Step of the last checkpoint."},
    {"cfm_checkpoint_time_seconds", Kind::kGauge, Scope::kRun, "",
     "When it was committed, in seconds since 1970; before this process's first one, when it began to train."},
    {"cfm_checkpoint_seconds", Kind::kGauge, Scope::kRun, "", "From the last save's request to its commit."},
    {"cfm_checkpoint_stall_seconds", Kind::kGauge, Scope::kRun, "",
     "Of these, how long training stood still on rank 0; over ranks, and over saves: the phase checkpoint."},
    {"cfm_checkpoint_bytes", Kind::kGauge, Scope::kRun, "", "Size of the last checkpoint."},
    {"cfm_checkpoints_total", Kind::kCounter, Scope::kRun, "", "Checkpoints committed by this process."},
    {"cfm_checkpoint_failures_total", Kind::kCounter, Scope::kRun, "", "Saves that failed in this process."},
    {"cfm_gpu_memory_bytes", Kind::kGauge, Scope::kRun, "of",
     "Of the rank that has most on its GPU: allocated by tensors, their peak, reserved by LibTorch. Absent on CPUs."},
    {"cfm_disk_free_bytes", Kind::kGauge, Scope::kRun, "", "Room on the file system of the run's folder."},
    // what evaluators found (RUN/results)
    {"cfm_result", Kind::kGauge, Scope::kRun, "metric step tag",
     "Of the checkpoint of that step, by the settings of that tag: nll_bits_per_dim, nll_nfe; fid, sfid, is_10_splits, "
     "is_splits_of_5000, kid, precision, recall, fid_nfe. The newest 200 of each."},
    {"cfm_result_time_seconds", Kind::kGauge, Scope::kRun, "",
     "When the newest of them was written, in seconds since 1970."},
    // an evaluator that is at work
    {"cfm_evaluation_images", Kind::kGauge, Scope::kEvaluation, "metric step tag",
     "Images, or samples, that an evaluator has done for a result."},
    {"cfm_evaluation_last_image", Kind::kGauge, Scope::kEvaluation, "metric step tag", "How many there are to be."},
    {"cfm_evaluation_eta_seconds", Kind::kGauge, Scope::kEvaluation, "metric step tag",
     "Seconds to its end at the speed of this start."},
    {"cfm_evaluation_time_seconds", Kind::kGauge, Scope::kEvaluation, "metric step tag",
     "When the evaluator last said so, in seconds since 1970."},
    // a node
    {"cfm_node_time_seconds", Kind::kGauge, Scope::kNode, "node",
     "When this was told, in seconds since 1970: it goes on where a run hangs, and stands still where it was killed."},
    {"cfm_node_ranks", Kind::kGauge, Scope::kNode, "node", "Ranks on the node."},
    {"cfm_node_resident_bytes", Kind::kGauge, Scope::kNode, "node",
     "Resident memory of the node's ranks: what each has to itself, and once what they share (the most that one has "
     "touched of it)."},
    {"cfm_node_cpu_seconds_total", Kind::kCounter, Scope::kNode, "node", "Processor seconds of the node's ranks."},
    {"cfm_rank_resident_bytes", Kind::kGauge, Scope::kNode, "node rank",
     "Resident memory of a rank, shared pages included; of the first 64 of a node."},
    {"cfm_rank_cpu_seconds_total", Kind::kCounter, Scope::kNode, "node rank",
     "Processor seconds of a rank; of the first 64 of a node."},
});

// nullptr: there is none of that name.
constexpr const SeriesInfo* find_series(std::string_view name) {
  for (const SeriesInfo& series : kCatalogue)
    if (series.name == name) return &series;
  return nullptr;
}

}  // namespace cfm::metrics
