#pragma once
// What a run tells Prometheus: series about the run from rank 0, about a node from the node's first rank.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "checkpoint/manifest.h"
#include "metrics/exporter.h"
#include "metrics/series.h"
#include "metrics/status_page.h"
#include "parallel/mpi_session.h"
#include "trainer/found_results.h"
#include "trainer/held_out.h"
#include "trainer/step_measure.h"
#include "trainer/train.h"

namespace cfm::trainer {

// A rank on this rank's node.
struct RankHere {
  std::string rank;
  int process = 0;
  double cpu_seconds = 0;  // told so far
};

class RunMetrics {
 public:
  // Collective.
  RunMetrics(const TrainConfig& config, const parallel::MpiSession& session);
  // `lost_steps`: what the start before had made beyond `at`. `images`: of the training data. `checkpoint_bytes`: of
  // the checkpoint that the run goes on from; 0 if there is none.
  void start(const checkpoint::Progress& at, int64_t attempt, int64_t lost_steps, int64_t images,
             int64_t checkpoint_bytes);
  void step(const StepMeasure& measure, const StepOverRanks& all, double images_per_second, double eta_seconds);
  void checkpoint(int64_t step, double seconds, double stall_seconds, int64_t bytes);
  void checkpoint_failed();
  void samples(const std::string& file);
  void validation(int64_t step, const std::string& weights, const ValidationLoss& loss);
  // Where the series are, for people; empty on other ranks than 0, or without.
  std::string text() const;

 private:
  void add_losses_by_time(const StepLosses& losses);
  void put_losses_by_time();
  void look();  // at the system: this node's memory and processors, the disk, results
  const TrainConfig& config_;
  const bool of_run_;
  const std::string node_;
  std::vector<RankHere> ranks_here_;
  FoundResults results_;
  std::unique_ptr<metrics::Series> series_;
  std::unique_ptr<metrics::StatusPage> page_;  // rank 0's
  std::unique_ptr<metrics::Exporter> exporter_;
  int64_t images_ = 1, images_seen_ = 0;
  double started_ = 0, counted_seconds_ = 0;
  double looked_ = 0;
  StepLosses since_logged_;
};

}  // namespace cfm::trainer
