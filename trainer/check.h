#pragma once
#include "base/stop_signal.h"
#include "data/hdf5_process.h"
#include "parallel/mpi_session.h"
#include "trainer/train.h"

namespace cfm::trainer {

// cfm_train --check: whether this launch would work, without training. Ranks and devices, the run's folder and room for
// its checkpoints, who holds the run, the data, what a resume would change, a few real steps of the real network at the
// real batch on all ranks, the loader alone, and what the whole run will take. Writes nothing into the run's folder but
// an empty file that is removed at once; checkpoints, events and lease are read at most. A damaged checkpoint is said
// with the one that a start would fall back to; a run that is trained now fails. Returns kDone, or throws
// SharedError(kWontWork) that names what failed. Collective.
ExitCode check_launch(const TrainConfig& config, const parallel::MpiSession& session, const StopSignal& stop,
                      data::Hdf5Process& hdf5);

}  // namespace cfm::trainer
