#pragma once
// One progress line: rewritten in place on a terminal, a plain line each in a log file.

#include <cstdint>
#include <string>

#include "base/live_line.h"

namespace cfm::metrics {

struct ProgressNumbers {
  int64_t step = 0, steps = 0;
  double loss = 0;
  double images_per_second = 0;
  double data_wait_share = 0;  // of the step's time, 0..1
  double learning_rate = 0;
  double gradient_norm = 0;
  double eta_seconds = 0;
};

// "step  1200/5000  24.0 %  loss 0.1234  grad 0.56  lr 5.0e-04  1,234 img/s  data wait 0.3 %  ETA 00:12:34"
std::string progress_text(const ProgressNumbers& numbers);

// "1d 02:03:04", "00:12:34".
std::string duration_text(double seconds);

class ProgressLine {
 public:
  explicit ProgressLine(bool enabled) : enabled_(enabled) {}  // rank 0
  // Where a person watches: replaces the line. Elsewhere: prints a line if plain_too.
  void show(const ProgressNumbers& numbers, bool plain_too);
  // Ends the live line, so that other output starts on a line of its own.
  void interrupt() { line_.end(); }

 private:
  bool enabled_;
  LiveLine line_;
};

}  // namespace cfm::metrics
