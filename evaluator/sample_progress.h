#pragma once
#include <chrono>
#include <cstdint>

namespace cfm::evaluator {

// One line on rank 0: rewritten in place on a terminal, a plain line every ten seconds in a log.
class SampleProgress {
 public:
  // `images`: this rank's share.
  SampleProgress(bool enabled, int64_t images);
  ~SampleProgress();  // ends a live line
  void done(int64_t images);

 private:
  using Clock = std::chrono::steady_clock;
  bool enabled_, terminal_, live_ = false;
  int64_t images_;
  Clock::time_point start_, last_;
};

}  // namespace cfm::evaluator
