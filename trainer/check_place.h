#pragma once
// What --check finds without data or network: ranks, the run's folder, its owner.

#include <c10/core/Device.h>

#include <cstdint>

#include "base/stop_signal.h"
#include "trainer/check_table.h"
#include "trainer/train.h"

namespace cfm::trainer {

// That the launcher's count is MPI's, where each rank is, on which device, with how many threads on how many cores.
// Collective.
void check_ranks_and_devices(CheckTable& table, const TrainConfig& config, const parallel::MpiSession& session,
                             c10::Device device, int threads);

// That the run's folder is one, or can be made, and can be written. Collective.
void check_folder(CheckTable& table, const TrainConfig& config, const parallel::MpiSession& session);

// Who holds the run: fails if that is a trainer that lives. Waits for its next beat, or as long as one without is taken
// for alive, or until a signal comes. Takes nothing. Collective.
void check_owner(CheckTable& table, const TrainConfig& config, const parallel::MpiSession& session,
                 const StopSignal& stop);

// Checkpoints that the run keeps at once, at most, from `step` on, the one in the making included, and those that are
// kept for evaluators that lag. Not those that jobs hold beyond that, one each.
double checkpoints_at_once(const TrainConfig& config, int64_t step);

// That there is room for them. `bytes`: of one. Collective.
void check_room(CheckTable& table, const TrainConfig& config, const parallel::MpiSession& session, int64_t step,
                int64_t bytes);

}  // namespace cfm::trainer
