#pragma once
#include "parallel/mpi_session.h"

namespace cfm::parallel {

// This rank's share, at least 1, of the cores that it may run on: ranks of a host that may run on the same cores share
// them. Collective.
int share_of_cores(const MpiSession& session);

}  // namespace cfm::parallel
