#pragma once
// When a run saves, how long it waits for that, and what it says of it.

#include "checkpoint/store.h"
#include "data/dataset_fingerprint.h"
#include "parallel/watchdog.h"
#include "trainer/phases.h"
#include "trainer/report.h"
#include "trainer/run_state.h"
#include "trainer/train.h"

namespace cfm::trainer {

class Checkpoints {
 public:
  // What it is given must outlive it.
  Checkpoints(const RunState& state, const TrainConfig& config, const data::Fingerprint& fingerprint,
              const checkpoint::Metadata& last_bits, checkpoint::Store& store, Report& report,
              parallel::Watchdog& watchdog, PhaseClock& phases);
  // Behind a step: begins a save if one is due, after the end of the one before. Of the last step one is always made,
  // and its end waited for: SharedError(kRetry) if it fails. Collective.
  void take(bool last);
  // A save under way may still be reading the state: to be called before that changes.
  void await_copy();
  // Whether this rank has done its part in the save under way; all ranks are told with the step's report.
  bool written() const { return store_.ended(); }
  // What all ranks told of `step`, handed on: says how the save ended, if by that it has. A failed one is said and
  // counted, and so is an old checkpoint that cannot be deleted; training goes on. SharedError if the run must not.
  // Collective.
  parallel::StepSummary hear(int64_t step, parallel::StepSummary all);

 private:
  bool collect();
  const RunState& state_;
  const TrainConfig& config_;
  const data::Fingerprint& fingerprint_;
  const checkpoint::Metadata& last_bits_;
  checkpoint::Store& store_;
  Report& report_;
  parallel::Watchdog& watchdog_;
  PhaseClock& phases_;
  int64_t begun_at_ = 0;      // step of the save under way
  double stall_seconds_ = 0;  // that training has waited for it
};

}  // namespace cfm::trainer
