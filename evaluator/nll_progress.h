#pragma once
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>

#include "base/live_line.h"
#include "evaluator/evaluation_metrics.h"
#include "evaluator/nll_plan.h"

namespace cfm::evaluator {

// Rank 0's line about all ranks' work, from the records that they keep: images, the mean so far and its standard error,
// ETA. Rewritten in place where a person watches, a plain line every ten seconds in a log. A thread looks and says it,
// so that it goes on while rank 0 has done its own part and waits for the others.
class NllProgress {
 public:
  // `kept`: draws that were there before. Silent unless `enabled`. `metrics`: told of the images too, unless null;
  // until finish(), or its end, nobody else uses them.
  NllProgress(bool enabled, const NllPlan& plan, int64_t kept, EvaluationMetrics* metrics);
  ~NllProgress();
  NllProgress(const NllProgress&) = delete;
  NllProgress& operator=(const NllProgress&) = delete;
  // The last line: of `records`, which are all that are kept by now. None if no draw was added.
  void finish(const DrawRecords& records);

 private:
  using Clock = std::chrono::steady_clock;
  std::chrono::seconds interval() const { return std::chrono::seconds(line_.live() ? 2 : 10); }
  void look_until_ended();
  void end_looking();
  void show(const DrawRecords& records);
  const bool enabled_;
  const NllPlan& plan_;
  const int64_t kept_;
  EvaluationMetrics* const metrics_;
  LiveLine line_;
  const Clock::time_point start_ = Clock::now();
  std::mutex mutex_;
  std::condition_variable wake_;
  bool ending_ = false;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace cfm::evaluator
