#pragma once
// RUN/failures.jsonl: what ended a job before its time, a line each, by whoever could still say it. docs/formats.md.

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"

namespace cfm::parallel {

// What a rank was last known to do.
struct RankSeen {
  int rank = 0;  // below 0: not known which
  std::string host;
  std::string phase;  // empty: not known
  int64_t step = 0;
  double idle_seconds = 0;  // since it went over to that
  bool finished = false;
};

class FailureLog {
 public:
  FailureLog(int rank, std::string host) : rank_(rank), host_(std::move(host)) {}

  // From now on failures go to the end of `file`, which the first of them makes. Before, they go nowhere: a job writes
  // only into a run that is its own.
  void write_to(std::filesystem::path file);
  bool writes() const;
  // From now on nothing is written: the run is another job's.
  void leave();
  // Whether a rank has written of a failure since write_to: what is seen then is its consequence.
  bool has_grown() const;

  // This rank now does `phase` (a string literal) of `step`. Thread-safe, cheap.
  void enter(const char* phase, int64_t step);
  // This rank, as it last said.
  RankSeen here() const;

  // A line. `cause`: "error", "no progress", "silent", "gone", "unsaid" (docs/formats.md). `culprit`: the rank that is
  // blamed; `all`: what is known of every rank, if the writer knows. One write(2), so that lines of ranks do not mix; a
  // file that cannot be written is no further failure: nothing is thrown.
  void record(const std::string& cause, const std::string& what, const RankSeen& culprit, ExitCode exit_code,
              const std::vector<RankSeen>& all = {}) const noexcept;

  // When the last line was written, "2026-…Z"; empty if there is none.
  std::string last_time() const;

 private:
  using Clock = std::chrono::steady_clock;
  const int rank_;
  const std::string host_;
  mutable std::mutex mutex_;
  std::filesystem::path file_;
  uintmax_t size_at_start_ = 0;
  const char* phase_ = "start";
  int64_t step_ = 0;
  Clock::time_point since_ = Clock::now();
};

}  // namespace cfm::parallel
