#pragma once
// cfm_eval_nll: bits per dimension of held-out images under a checkpoint's flow.

#include <filesystem>
#include <string>

#include "base/error.h"
#include "base/stop_signal.h"
#include "data/hdf5_process.h"
#include "evaluator/evaluation_metrics.h"
#include "evaluator/network_flow.h"
#include "evaluator/watch.h"
#include "flow/likelihood.h"
#include "parallel/mpi_session.h"

namespace cfm::evaluator {

struct NllJob {
  WeightsChoice weights;
  WatchConfig watch;                  // or every checkpoint of a run
  std::filesystem::path results_dir;  // empty: RUN/results
  std::string data, data_mode = "auto";
  std::string labels;                 // data, none (the null class); empty: data if the network has classes
  flow::LikelihoodConfig likelihood;  // sigma0 and t_end come from the weights
  int64_t count = 0;                  // the first so many images; 0: all
  int64_t check_images = 32;          // on a grid: so many are done with twice the steps too
  std::string tag;                    // empty: a hash of the settings
  MetricsConfig metrics;
  std::string device = "auto";
  int threads = 1;      // a rank; 0: its share of the cores
  std::string command;  // of one rank, that asks for all this
  Problems validate() const;
};

// Computes what is not yet kept under RUN/results/, on all ranks, and writes the result when all of it is there. Every
// draw of every image is kept as soon as it is finished: whatever ends the job, the same command continues, on any
// number of ranks, and gives the same bits for the same --net_batch and --threads. kRequeue if a signal stopped it. A
// result that is there already is left as it is; one that another job is making is an Error. With `watch`, all this for
// every checkpoint: evaluator/watch.h. Collective.
ExitCode evaluate_nll(const NllJob& job, const parallel::MpiSession& session, const StopSignal& stop,
                      data::Hdf5Process& hdf5);

}  // namespace cfm::evaluator
