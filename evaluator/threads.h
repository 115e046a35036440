#pragma once
#include "parallel/mpi_session.h"

namespace cfm::evaluator {

// Sets LibTorch's threads on this rank to `wanted`; 0: what OMP_NUM_THREADS says, otherwise the rank's share of the
// cores that it may run on (ranks of a host that may run on the same cores share them). Returns the number. Collective.
int use_threads(const parallel::MpiSession& session, int wanted);

}  // namespace cfm::evaluator
