#pragma once
// Where a step's time goes, on the host's clock. The watchdog hears of the same phases.

#include <array>
#include <chrono>
#include <cstdint>
#include <utility>

#include "parallel/watchdog.h"

namespace cfm::trainer {

enum class Phase { kData, kTransfer, kForward, kBackward, kAllReduce, kOptimizer, kEma };

// As they are called in metrics and in the watchdog's report.
inline constexpr auto kPhaseNames =
    std::to_array<const char*>({"data", "transfer", "forward", "backward", "all_reduce", "optimizer", "ema"});

using PhaseSeconds = std::array<double, kPhaseNames.size()>;

class PhaseClock {
 public:
  explicit PhaseClock(parallel::Watchdog& watchdog) : watchdog_(watchdog) {}
  // What comes now is this phase of `step`.
  void enter(Phase phase, int64_t step) {
    watchdog_.enter(kPhaseNames[index(phase)], step);
    turn();
    now_in_ = index(phase);
  }
  // The seconds of each phase since the last call; counting goes on with the next enter().
  PhaseSeconds take() {
    turn();
    now_in_ = kNone;
    PhaseSeconds taken{};
    std::swap(taken, seconds_);
    return taken;
  }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr size_t kNone = kPhaseNames.size();
  static constexpr size_t index(Phase phase) { return static_cast<size_t>(phase); }
  void turn() {
    const Clock::time_point now = Clock::now();
    if (now_in_ != kNone) seconds_[now_in_] += std::chrono::duration<double>(now - since_).count();
    since_ = now;
  }
  parallel::Watchdog& watchdog_;
  PhaseSeconds seconds_{};
  size_t now_in_ = kNone;
  Clock::time_point since_;
};

}  // namespace cfm::trainer
