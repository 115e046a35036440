#pragma once
// What the ranks' watchdogs tell each other.

#include <array>
#include <cstdint>

namespace cfm::parallel {

// What a rank says of itself, as it goes over the wire.
struct Beat {
  int64_t step = 0;
  double idle_seconds = 0;   // since its last progress
  double progress_time = 0;  // when that was: seconds since 1970 by its own wall clock, to tell who stood still first
  double limit = 0;          // seconds without progress that are allowed
  int32_t waits = 0;         // for other ranks
  int32_t goodbye = 0;       // it has stopped; nothing will follow
  std::array<char, 40> phase{"start"};
};

// A rank as a monitor knows it.
struct Heard {
  Beat beat;
  double at = 0;  // the watchdog's clock
};

}  // namespace cfm::parallel
