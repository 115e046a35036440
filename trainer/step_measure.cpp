#include "trainer/step_measure.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace cfm::trainer {
namespace {

constexpr size_t kPhases = kPhaseNames.size();
constexpr size_t kAllReduce = static_cast<size_t>(Phase::kAllReduce),
                 kCheckpoint = static_cast<size_t>(Phase::kCheckpoint);

// Where each number stands in a report.
enum Sum : size_t { kLoss, kDataWait, kOwn, kPhaseSums, kByTime = kPhaseSums + kPhases, kImages = kByTime + kTimeBins };
enum Maximum : size_t {
  kStep,
  kSlowest,
  kUnwritten,
  kRunLost,
  kPhaseMaxima,
  kPhaseMinima = kPhaseMaxima + kPhases,
  kGpu = kPhaseMinima + kPhases
};

// A rank's time and number in one, so that the largest over ranks tells whose it is: whole microseconds, exact up to
// 2^53, which is a day of 10,000 ranks.
double time_and_rank(double seconds, int rank, int ranks) { return std::floor(seconds * 1e6) * ranks + rank; }

}  // namespace

parallel::StepReport to_report(const StepMeasure& measure, bool stop_requested, int rank, int ranks) {
  const PhaseSeconds& phases = measure.phase_seconds;
  const double all = std::accumulate(phases.begin(), phases.end(), 0.0);
  const double own = std::max(all - phases[kAllReduce] - phases[kCheckpoint], 0.0);
  parallel::StepReport report{.stop_requested = stop_requested,
                              .sums = {measure.losses.sum, measure.data_wait_seconds, own},
                              .maxima = {measure.step_seconds, time_and_rank(own, rank, ranks),
                                         measure.checkpoint_written ? 0.0 : 1.0, measure.run_lost ? 1.0 : 0.0}};
  report.sums.insert(report.sums.end(), phases.begin(), phases.end());
  report.maxima.insert(report.maxima.end(), phases.begin(), phases.end());
  for (const double seconds : phases) report.maxima.push_back(-seconds);
  for (const ByTime& of_bins : {measure.losses.by_time, measure.losses.images})
    report.sums.insert(report.sums.end(), of_bins.begin(), of_bins.end());
  const parallel::GpuMemory& gpu = measure.gpu_memory;
  for (const int64_t bytes : {gpu.allocated, gpu.peak, gpu.reserved})
    report.maxima.push_back(static_cast<double>(bytes));
  return report;
}

bool written_by_all(const parallel::StepSummary& summary) { return summary.maxima[kUnwritten] == 0; }

bool is_run_lost(const parallel::StepSummary& summary) { return summary.maxima[kRunLost] > 0; }

StepOverRanks over_ranks(const parallel::StepSummary& summary, int ranks) {
  const auto slowest = static_cast<int64_t>(summary.maxima[kSlowest]);
  StepOverRanks all{.stop_requested = summary.stop_requested,
                    .step_seconds = summary.maxima[kStep],
                    .data_wait_seconds = summary.sums[kDataWait] / ranks};
  for (size_t p = 0; p < kPhases; ++p) {
    all.phase_min[p] = -summary.maxima[kPhaseMinima + p];
    all.phase_mean[p] = summary.sums[kPhaseSums + p] / ranks;
    all.phase_max[p] = summary.maxima[kPhaseMaxima + p];
  }
  all.losses.sum = summary.sums[kLoss];
  for (size_t bin = 0; bin < kTimeBins; ++bin) {
    all.losses.by_time[bin] = summary.sums[kByTime + bin];
    all.losses.images[bin] = summary.sums[kImages + bin];
  }
  const auto bytes = [&](size_t i) { return static_cast<int64_t>(summary.maxima[kGpu + i]); };
  all.gpu_memory = {.allocated = bytes(0), .peak = bytes(1), .reserved = bytes(2)};
  all.slowest_rank = static_cast<int>(slowest % ranks);
  const double mean = summary.sums[kOwn] / ranks;
  const int64_t microseconds = slowest / ranks;
  if (mean > 0) all.slowest_lag = std::max(1e-6 * static_cast<double>(microseconds) / mean - 1, 0.0);
  return all;
}

}  // namespace cfm::trainer
