#pragma once
// cfm_eval_fid: FID, sFID, Inception Score, KID, precision and recall of a checkpoint, from samples that it draws
// itself, or of anybody's images.

#include <filesystem>
#include <string>

#include "base/error.h"
#include "base/stop_signal.h"
#include "data/hdf5_process.h"
#include "evaluator/evaluation_metrics.h"
#include "evaluator/kernel_distance.h"
#include "evaluator/measures.h"
#include "evaluator/network_flow.h"
#include "evaluator/reference.h"
#include "evaluator/sweep_config.h"
#include "evaluator/watch.h"
#include "flow/sampler.h"
#include "parallel/mpi_session.h"

namespace cfm::evaluator {

struct FidJob {
  WeightsChoice weights;
  WatchConfig watch;                            // or every checkpoint of a run; or:
  std::string samples;                          // other people's images: evaluator/image_source.h
  std::filesystem::path results_dir;            // empty: RUN/results
  int64_t count = 50'000;                       // samples a repeat; of --samples the first so many, 0: all
  int64_t repeats = 3;                          // on samples of their own
  std::string labels;                           // evaluator/labels.h
  flow::SampleConfig sampling;                  // sigma0 and t_end come from the weights
  std::string reference;                        // evaluator/reference.h
  int64_t reference_features = kReferenceKept;  // of which KID, precision and recall know
  KernelConfig kid;
  int64_t neighbours = kNeighbours;    // of precision and recall
  Problems without_reference_images;   // of flags that do nothing if the reference holds statistics alone
  std::string features;                // evaluator/feature_network.h
  std::filesystem::path keep_samples;  // .npz of the first repeat's samples; empty: none
  bool sweep = false;                  // FID against network evaluations instead
  SweepConfig sweep_over;
  std::string tag;  // empty: a hash of the settings
  MetricsConfig metrics;
  std::string device = "auto";
  int threads = 1;      // a rank; 0: its share of the cores
  std::string command;  // of one rank, that asks for all this
  bool draws() const { return samples.empty(); }
  Problems validate() const;
};

// Draws, measures and writes the result, on all ranks. Samples are kept under RUN/results/ block by block until the
// result is there: whatever ends the job, the same command continues, on any number of ranks, and gives the same bits
// for the same --net_batch and --threads. kRequeue if a signal stopped it. A result that is there already is left as it
// is; one that another job is making is an Error. With `watch`, all this for every checkpoint: evaluator/watch.h.
// Collective.
ExitCode evaluate_fid(const FidJob& job, const parallel::MpiSession& session, const StopSignal& stop,
                      data::Hdf5Process& hdf5);

}  // namespace cfm::evaluator
