#pragma once
// The c10d::Store that all ranks share, over MPI: rank 0 keeps the keys, the others ask it. No port to open, no address
// to choose, no name to resolve (c10d's TCPStore resolves each client's name as it connects: seconds, where DNS is
// slow).

#include <c10/util/intrusive_ptr.h>

#include <chrono>

#include "parallel/mpi_session.h"

namespace c10d {
class Store;
}

namespace cfm::parallel {

// Collective in so far as every rank must make one, on the same communicator, which must serve nothing else. Rank 0
// answers on a thread of its own. Any thread may use it. A key that does not come within the timeout is a
// c10::DistStoreError.
c10::intrusive_ptr<c10d::Store> make_mpi_store(Communicator communicator, std::chrono::milliseconds timeout);

// Ends the answering thread, before MPI_Finalize, however many still refer to the store. REQUIRES: made by
// make_mpi_store; no rank asks any more.
void stop_answering(c10d::Store& store);

}  // namespace cfm::parallel
