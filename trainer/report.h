#pragma once
// What a run says of itself: RUN/events.jsonl, the progress line and messages that do not break it, metrics. Rank 0
// speaks.

#include <c10/core/Device.h>

#include <optional>
#include <string>
#include <vector>

#include "checkpoint/manifest.h"
#include "metrics/event_log.h"
#include "metrics/progress.h"
#include "trainer/held_out.h"
#include "trainer/open_data.h"
#include "trainer/resume.h"
#include "trainer/run_metrics.h"
#include "trainer/step_measure.h"
#include "trainer/train.h"

namespace cfm::trainer {

// What the run says of its dropout; empty where masks are keyed by sample.
std::string dropout_note(double dropout, c10::Device device);

class Report {
 public:
  // What it is given must outlive it.
  Report(const TrainConfig& config, const parallel::MpiSession& session, RunMetrics& metrics);

  // `resumed`: what has changed since the checkpoint that the run goes on from; nothing for one that begins.
  void start(const RunState& state, const std::optional<std::vector<FlagChange>>& resumed, const OpenedData& data,
             int64_t parameters, int threads, c10::Device device);
  // A line that does not break the progress line.
  void note(const std::string& text);
  // What the run is at now.
  void stage(Stage stage) { metrics_.stage(stage); }
  // The step that `measure` describes, with what all ranks reported of it. Returns whether one was asked to stop.
  bool step(const StepMeasure& measure, const parallel::StepSummary& summary);
  // `seconds` from its request to its commit, in `stall_seconds` of which training stood still.
  void checkpoint(int64_t step, double seconds, double stall_seconds);
  void checkpoint_failed(int64_t step, const std::string& problem);
  // Something behind the checkpoint of `step` could not be deleted. Of rank 0 alone.
  void deletion_failed(int64_t step, const std::string& problem);
  void validation(int64_t step, const std::string& weights, const ValidationLoss& loss);
  void samples(int64_t step, const std::string& file);
  void end(const checkpoint::Progress& at, bool stopped, int signal);

 private:
  const TrainConfig& config_;
  int ranks_;
  bool speaks_;
  metrics::EventLog events_;
  metrics::ProgressLine line_;
  RunMetrics& metrics_;
  double smooth_seconds_ = 0;  // a step's, over the last ones
  int64_t first_step_ = 0;
  int64_t failed_checkpoints_ = 0, failed_deletions_ = 0;
};

}  // namespace cfm::trainer
