#pragma once
#include <chrono>
#include <cstdint>
#include <string>

#include "base/live_line.h"

namespace cfm::evaluator {

// One line on rank 0: rewritten in place where a person watches, a plain line every ten seconds in a log.
class SampleProgress {
 public:
  // `images`: this rank's share. `verb`: what is done with them, first on the line.
  SampleProgress(bool enabled, int64_t images, std::string verb = "sampling");
  void done(int64_t images);

 private:
  using Clock = std::chrono::steady_clock;
  bool enabled_;
  LiveLine line_;
  int64_t images_;
  std::string verb_;
  Clock::time_point start_, last_;
};

}  // namespace cfm::evaluator
