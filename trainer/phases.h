#pragma once
// Where a step's time goes, on the clock of the device that works. The watchdog hears of the same phases.

#include <c10/core/Device.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "parallel/watchdog.h"
#include "trainer/device_timeline.h"

namespace cfm::trainer {

enum class Phase { kData, kTransfer, kForward, kBackward, kAllReduce, kOptimizer, kEma, kCheckpoint };

// As they are called in metrics and in the watchdog's report.
inline constexpr auto kPhaseNames = std::to_array<const char*>(
    {"data", "transfer", "forward", "backward", "all_reduce", "optimizer", "ema", "checkpoint"});

using PhaseSeconds = std::array<double, kPhaseNames.size()>;

// The host only hands its work to a GPU and goes on. There the host's calls are marks in the GPU's work, and a phase's
// seconds are those between them on the GPU's clock: what the GPU worked, and what it waited for its host.
class PhaseClock {
 public:
  PhaseClock(parallel::Watchdog& watchdog, c10::Device device) : watchdog_(watchdog) {
    if (device.type() != c10::DeviceType::CPU) timeline_.emplace(device);
  }
  PhaseClock(const PhaseClock&) = delete;
  PhaseClock& operator=(const PhaseClock&) = delete;

  // What comes now is this phase of `step`.
  void enter(Phase phase, int64_t step) {
    watchdog_.enter(kPhaseNames[static_cast<size_t>(phase)], step);
    turn_to(static_cast<size_t>(phase));
  }

  // As long as it lives, what comes is of another phase; then the one before goes on. The watchdog does not hear of it.
  class Visit {
   public:
    Visit(PhaseClock& clock, Phase phase) : clock_(clock), before_(clock.turn_to(static_cast<size_t>(phase))) {}
    ~Visit() { clock_.turn_to(before_); }
    Visit(const Visit&) = delete;
    Visit& operator=(const Visit&) = delete;

   private:
    PhaseClock& clock_;
    const size_t before_;
  };

  // All work of the step is handed over: what comes is of no phase.
  void handed_over() { turn_to(kNone); }

  // The seconds of each phase since the last call, on a GPU when it has done its work; counting goes on with the next
  // enter() or Visit.
  PhaseSeconds take() {
    turn_to(kNone);
    if (timeline_) {
      const std::vector<double> between = timeline_->take();
      for (size_t i = 0; i < between.size(); ++i)
        if (marked_[i] != kNone) seconds_[marked_[i]] += between[i];
      marked_.clear();
    }
    PhaseSeconds taken{};
    std::swap(taken, seconds_);
    return taken;
  }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr size_t kNone = kPhaseNames.size();
  // Returns what it was.
  size_t turn_to(size_t phase) {
    if (timeline_) {
      timeline_->mark();
      marked_.push_back(phase);
    } else {
      const Clock::time_point now = Clock::now();
      if (now_in_ != kNone) seconds_[now_in_] += std::chrono::duration<double>(now - since_).count();
      since_ = now;
    }
    return std::exchange(now_in_, phase);
  }

  parallel::Watchdog& watchdog_;
  PhaseSeconds seconds_{};
  size_t now_in_ = kNone;
  Clock::time_point since_;
  std::optional<DeviceTimeline> timeline_;  // none on a CPU
  std::vector<size_t> marked_;              // the phase behind each mark
};

}  // namespace cfm::trainer
