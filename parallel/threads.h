#pragma once
#include "parallel/mpi_session.h"

namespace cfm::parallel {

// Sets LibTorch's threads on this rank to `wanted`; 0: what OMP_NUM_THREADS says, otherwise the rank's share of the
// cores that it may run on: ranks that their launcher bound to the same cores of a host share them, a rank that has
// cores of its own (srun --cpus-per-task, mpirun --map-by slot:PE=8) takes them all. Returns the number. Collective.
int use_threads(const MpiSession& session, int wanted);

}  // namespace cfm::parallel
