#pragma once
// A thread on every rank that tells rank 0 and another every few seconds what its rank is doing; they end the job with
// one report when a rank stands still or is no longer heard of (the other after some grace: it is there in case rank 0
// is the one, and on another machine if there is one).

#include <atomic>
#include <chrono>
#include <memory>
#include <string>

#include "parallel/mpi_session.h"

namespace cfm::parallel {

struct WatchdogConfig {
  std::chrono::duration<double> step_timeout{600};    // no progress for longer than this ends the job
  std::chrono::duration<double> start_timeout{3600};  // likewise, until a rank's first enter()
  std::chrono::duration<double> heartbeat{2};         // how often ranks tell each other
  std::chrono::duration<double> silence_timeout{12};  // a rank not heard of for longer than this ends the job
};

class Watchdog {
 public:
  Watchdog(const MpiSession& session, const WatchdogConfig& config);  // collective: makes its own communicator
  ~Watchdog();                                                        // local: stops the thread
  // The rank now does `phase` (a string literal: "data", "forward", "save", ...) of `step`. Cheap and thread-safe;
  // counts as progress. On time-out (any rank's last call is older than step_timeout) the lowest rank that notices
  // prints one report (every rank: host, phase, step, seconds since), then MPI_Abort(kRetry) and _exit. A rank whose
  // heartbeats stop is named too.
  void enter(const char* phase, int64_t step);
  // Likewise, but the rank only waits for others from now on: as long as one of them works, that one's time counts.
  void wait(const char* phase, int64_t step);
  // Collective, before MPI_Finalize: all ranks stop their heartbeats together.
  void stop();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace cfm::parallel
