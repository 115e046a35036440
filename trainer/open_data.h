#pragma once
// The data of a run: opened, checked, shared by a node's ranks, dealt to nodes.

#include <optional>

#include "checkpoint/manifest.h"
#include "data/dataset.h"
#include "data/hdf5_process.h"
#include "data/loader.h"
#include "parallel/mpi_session.h"
#include "parallel/node_layout.h"
#include "trainer/train.h"

namespace cfm::trainer {

struct OpenedData {
  data::Dataset train;
  std::optional<data::Dataset> val;
  int64_t data_groups = 1;      // of the run: what --data_groups says, or its checkpoint
  parallel::NodeLayout layout;  // of the ranks, as the data sees them
};

// The newest manifest of a run that is intact; nothing for a run without one. Error(kRetry) if the newest cannot be
// read for now.
std::optional<checkpoint::Manifest> newest_manifest(const std::string& run_dir);

// Opens and checks --train_data and --val_data. With data groups a node opens its own files only, or copies of them in
// --stage_dir. A fault on any rank is all ranks' fault. A signal that comes meanwhile ends it: SharedError(kRequeue).
// Collective.
OpenedData open_data(const TrainConfig& config, const parallel::MpiSession& session, const StopSignal& stop,
                     data::Hdf5Process& hdf5);

// The configuration with channels, image size and classes taken from the data; throws SharedError if they do not fit
// it.
TrainConfig fitted_to_data(TrainConfig config, const OpenedData& data);

data::LoaderConfig loader_config(const TrainConfig& config, const OpenedData& data, const parallel::MpiSession& session,
                                 c10::Device device);

}  // namespace cfm::trainer
