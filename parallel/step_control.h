#pragma once
// What all ranks must know of a step, in one small non-blocking all-reduce, read one step later by all alike.

#include <memory>
#include <vector>

#include "parallel/mpi_session.h"

namespace cfm::parallel {

// What a rank puts in. `sums` and `maxima` have the same length on all ranks and in all steps.
struct StepReport {
  bool stop_requested = false;
  std::vector<double> sums{};    // e.g. this rank's summed loss, images, seconds waited for data
  std::vector<double> maxima{};  // e.g. seconds of the step
};

// What all ranks get: any(stop), sums added in rank order, maxima. The same bits on every rank.
struct StepSummary {
  bool stop_requested = false;
  std::vector<double> sums, maxima;
};

class StepControl {
 public:
  explicit StepControl(const MpiSession& session);  // collective: makes its own communicator
  ~StepControl();
  // Starts the exchange of this step's report. At most one is under way: collect() it first.
  void post(const StepReport& report);
  // Completes the exchange under way. REQUIRES: one was posted.
  StepSummary collect();
  bool pending() const;
  // Whether collect() would return without waiting, now. REQUIRES: one was posted.
  bool ready() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace cfm::parallel
