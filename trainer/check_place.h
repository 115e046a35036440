#pragma once
// What --check finds without data or network: ranks, the run's folder, its owner.

#include <c10/core/Device.h>

#include <cstdint>

#include "trainer/check_table.h"
#include "trainer/train.h"

namespace cfm::trainer {

// That the launcher's count is MPI's, where each rank is, on which device, with how many threads on how many cores.
// Collective.
void check_ranks_and_devices(CheckTable& table, const TrainConfig& config, const parallel::MpiSession& session,
                             c10::Device device, int threads);

// That the run's folder is one, or can be made, and can be written. Collective.
void check_folder(CheckTable& table, const TrainConfig& config, const parallel::MpiSession& session);

// Who holds the run, as far as a look tells. Collective.
void check_owner(CheckTable& table, const TrainConfig& config, const parallel::MpiSession& session);

// Checkpoints that the run keeps at once, at most, from `step` on, the one in the making included.
int64_t checkpoints_at_once(const TrainConfig& config, int64_t step);

// That there is room for them. `bytes`: of one. Collective.
void check_room(CheckTable& table, const TrainConfig& config, const parallel::MpiSession& session, int64_t step,
                int64_t bytes);

}  // namespace cfm::trainer
