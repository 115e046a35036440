#pragma once
// Checkpoints that a run's trainer does not delete while a job is at them.

#include "base/stop_signal.h"
#include "checkpoint/readers.h"
#include "evaluator/network_flow.h"
#include "parallel/mpi_session.h"

namespace cfm::evaluator {

// The checkpoint that a job for one result takes, the same on all ranks; the hold is rank 0's, and nothing if the job
// takes none of a run. Waits while the trainer is deleting. Errors of checkpoint::choose_step; Error(kRequeue) after a
// signal. Collective.
checkpoint::HeldStep hold_checkpoint(const WeightsChoice& weights, double lease_seconds,
                                     const parallel::MpiSession& session, const StopSignal& stop);

}  // namespace cfm::evaluator
