#pragma once
// What a run tells Prometheus: series about the run from rank 0, about a node from the node's first rank.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "checkpoint/manifest.h"
#include "metrics/exporter.h"
#include "metrics/history.h"
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

// What a start is at: it opens and copies its data, makes its network and loads its checkpoint, trains, looks at
// held-out images and samples.
enum class Stage { kData, kWeights, kTraining, kHeldOut };

class RunMetrics {
 public:
  static constexpr double kLookEvery = 5;  // seconds

  // From here on the job is found; its stage is kData. Collective.
  RunMetrics(const TrainConfig& config, const parallel::MpiSession& session);
  void stage(Stage stage);
  // Training begins: the `attempt`-th start of the run, at `at`, on `images` images; `before`: what earlier ones left.
  void start(const checkpoint::Progress& at, int64_t attempt, int64_t images, const metrics::History& before);
  void step(const StepMeasure& measure, const StepOverRanks& all, double images_per_second, double eta_seconds);
  void checkpoint(int64_t step, double seconds, double stall_seconds);
  void checkpoint_failed();
  void samples(const std::string& file);
  void validation(int64_t step, const std::string& weights, const ValidationLoss& loss);
  // Looks at this node's memory and processors, the disk, results. step() does, every kLookEvery seconds.
  void look();
  // Where the series are, for people; empty on other ranks than 0, or without.
  std::string text() const;

 private:
  void put_phases(const StepOverRanks& all);
  void put_page(const StepMeasure& measure, const StepOverRanks& all, double images_per_second, double eta_seconds);
  void add_losses_by_time(const StepLosses& losses);
  void put_losses_by_time();
  const TrainConfig& config_;
  const bool of_run_;
  const std::string node_;
  const double started_;  // this process, in seconds since 1970
  std::vector<RankHere> ranks_here_;
  FoundResults results_;
  std::unique_ptr<metrics::Series> series_;
  std::unique_ptr<metrics::StatusPage> page_;  // rank 0's
  std::unique_ptr<metrics::Exporter> exporter_;
  int64_t images_ = 1, images_seen_ = 0;
  double good_seconds_ = 0;
  double looked_ = 0;
  StepLosses since_logged_;
};

}  // namespace cfm::trainer
