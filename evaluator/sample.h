#pragma once
// cfm_sample: images from a checkpoint or a bare weights file.

#include <filesystem>
#include <string>

#include "base/error.h"
#include "evaluator/network_flow.h"
#include "evaluator/sample_file.h"
#include "flow/sampler.h"
#include "parallel/mpi_session.h"

namespace cfm::evaluator {

struct SampleJob {
  WeightsChoice weights;
  int64_t count = 64;
  std::filesystem::path out;
  std::filesystem::path trajectories;  // .npz of the first samples' ways from noise to image; empty: none
  GridLayout layout;
  std::string beside;           // shards whose first images are shown beside the samples; empty: none
  std::string labels;           // evaluator/labels.h
  flow::SampleConfig sampling;  // t_end comes from the weights
  std::string device = "auto";
  int threads = 1;  // a rank; 0: its share of the cores
  Problems validate() const;
};

// Draws job.count images and writes them on rank 0. For given threads and net_batch the images do not depend on the
// number of ranks. `hdf5` opens the shards of job.beside. Collective.
void sample(const SampleJob& job, const parallel::MpiSession& session, data::Hdf5Process& hdf5);

}  // namespace cfm::evaluator
