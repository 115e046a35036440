#pragma once
#include <chrono>
#include <cstdint>
#include <string>

#include "base/live_line.h"

namespace cfm::packer {

// One live line where a person watches, a plain line every 30 s in a log.
class Progress {
 public:
  explicit Progress(int64_t images);
  void add(int64_t images);

 private:
  std::string text() const;
  using Clock = std::chrono::steady_clock;
  int64_t total_, done_ = 0;
  LiveLine line_;
  Clock::time_point start_ = Clock::now(), last_ = start_;
};

}  // namespace cfm::packer
