#pragma once
#include "data/dataset.h"
#include "data/hdf5_process.h"
#include "parallel/mpi_session.h"

namespace cfm::evaluator {

// The images of --data, for all ranks. A fault on any is all ranks' fault. Collective.
data::Dataset open_images(const std::string& data, const std::string& data_mode, const parallel::MpiSession& session,
                          data::Hdf5Process& hdf5);

}  // namespace cfm::evaluator
