#pragma once
// What a watchdog knows of all ranks, and whom it blames when the job does not get on.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "parallel/failure_log.h"
#include "parallel/heartbeat.h"
#include "parallel/watchdog.h"

namespace cfm::parallel {

// The ranks that hear all others: rank 0, and one for the case that rank 0 is the one that stands still: the first of
// another machine, which may be what is lost, or rank 1 where there is one machine. `hosts`: by rank.
std::vector<int> monitors_of(const std::vector<std::string>& hosts);

// Why the job ends, and whose fault that is.
struct Problem {
  const char* cause;
  std::string text;
  size_t rank;
};

struct JobView {
  WatchdogConfig config;
  int rank;                        // whose view it is
  std::vector<std::string> hosts;  // by rank
  std::vector<int> monitors;       // ranks that hear all others; the others know of themselves alone
  std::vector<Heard> heard;        // by rank
  double now = 0;                  // seconds in which this rank's watchdog was there to watch

  bool is_monitor() const;
  // How often this rank looks, in seconds.
  double tick() const;
  // Names the rank to blame, if a limit is passed: one that is silent, or else the one that is furthest behind. The
  // others wait for it, a step or a moment later. A rank that said that it waits is minded only if all of them do.
  std::optional<Problem> problem() const;
  // "rank 3 on host n1 (forward, step 7)"
  std::string describe(size_t r) const;
  // What is printed when the job ends for `problem`: all ranks, as far as this one knows them.
  std::string report(const std::string& problem) const;
  RankSeen seen(size_t r) const;
  std::vector<RankSeen> all_seen() const;  // empty: it knows of itself alone

 private:
  double grace() const;
  double idle(size_t r) const;
  double silence(size_t r) const;
};

}  // namespace cfm::parallel
