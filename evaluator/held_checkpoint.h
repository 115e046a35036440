#pragma once
// Checkpoints that a run's trainer does not delete while a job is at them.

#include <filesystem>
#include <memory>

#include "base/stop_signal.h"
#include "checkpoint/readers.h"
#include "evaluator/network_flow.h"
#include "parallel/mpi_session.h"

namespace cfm::evaluator {

// Nothing, which is said, where RUN/readers cannot be written: the trainer may then delete what the job is at.
std::unique_ptr<checkpoint::Hold> hold_or_warn(const std::filesystem::path& run_dir, int64_t step, LeaseTimes times);

struct HeldCheckpoint {
  int64_t step = checkpoint::kNewestStep;  // the same on all ranks
  std::unique_ptr<checkpoint::Hold> hold;  // rank 0's
};

// The checkpoint that a job for one result takes; nothing to hold if it takes none of a run. Waits while the trainer is
// deleting. Errors of checkpoint::choose_step; Error(kRequeue) after a signal. Collective.
HeldCheckpoint hold_checkpoint(const WeightsChoice& weights, double lease_seconds, const parallel::MpiSession& session,
                               const StopSignal& stop);

}  // namespace cfm::evaluator
