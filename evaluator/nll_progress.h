#pragma once
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>

#include "base/live_line.h"
#include "evaluator/evaluation_metrics.h"
#include "evaluator/nll_plan.h"

namespace cfm::evaluator {

// Rank 0's line about all ranks' work, from the records that they keep: images, the mean so far and its standard error,
// ETA. Rewritten in place where a person watches, a plain line every ten seconds in a log.
class NllProgress {
 public:
  // `kept`: draws that were there before.
  NllProgress(bool enabled, const NllPlan& plan, int64_t kept, EvaluationMetrics& metrics);
  // To be called now and then.
  void look();

 private:
  using Clock = std::chrono::steady_clock;
  std::chrono::seconds interval() const;
  std::string text(Clock::time_point now);  // empty while no image is done
  bool enabled_;
  const NllPlan& plan_;
  int64_t kept_;
  EvaluationMetrics& metrics_;
  LiveLine line_;
  Clock::time_point start_, next_;  // when it began, when it looks again
};

}  // namespace cfm::evaluator
