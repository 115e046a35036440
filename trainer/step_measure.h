#pragma once
// What a rank measures of a step, and what all ranks know of it one step later.

#include <cstdint>

#include "parallel/device.h"
#include "parallel/step_control.h"
#include "trainer/loss_by_time.h"
#include "trainer/phases.h"

namespace cfm::trainer {

// What one rank measured of a step.
struct StepMeasure {
  StepLosses losses{};  // of this rank's samples
  double data_wait_seconds = 0;
  double step_seconds = 0;
  PhaseSeconds phase_seconds{};
  double gradient_norm = 0, lr = 0;  // equal on all ranks
  int64_t averaged_updates = 0;      // that the averages had seen before this one
  int64_t step = 0;                  // the step that was made: 1 is the first
  bool skipped = false;
  bool checkpoint_written = false;  // this rank's part in the save under way
  bool run_lost = false;            // the run is known to be another's now: rank 0's to say
  parallel::GpuMemory gpu_memory{};
};

// The same step over all ranks.
struct StepOverRanks {
  bool stop_requested = false;
  StepLosses losses{};
  double step_seconds = 0;       // of the slowest rank
  double data_wait_seconds = 0;  // mean
  PhaseSeconds phase_min{}, phase_mean{}, phase_max{};
  // The rank that took longest without its waiting for others, and for checkpoints.
  int slowest_rank = 0;
  double slowest_lag = 0;            // how much longer than the mean, as a share of it
  parallel::GpuMemory gpu_memory{};  // of the rank that has most, each
};

parallel::StepReport to_report(const StepMeasure& measure, bool stop_requested, int rank, int ranks);
// Whether every rank had checkpoint_written.
bool written_by_all(const parallel::StepSummary& summary);
// Whether any rank had run_lost.
bool is_run_lost(const parallel::StepSummary& summary);
StepOverRanks over_ranks(const parallel::StepSummary& summary, int ranks);

}  // namespace cfm::trainer
