#pragma once
// Where a step's time goes, on the host's clock. The watchdog hears of the same phases.

#include <c10/core/Device.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <utility>

#include "parallel/watchdog.h"

namespace cfm::trainer {

enum class Phase { kData, kTransfer, kForward, kBackward, kAllReduce, kOptimizer, kEma, kCheckpoint, kDevice };

// As they are called in metrics and in the watchdog's report.
inline constexpr auto kPhaseNames = std::to_array<const char*>(
    {"data", "transfer", "forward", "backward", "all_reduce", "optimizer", "ema", "checkpoint", "device"});

using PhaseSeconds = std::array<double, kPhaseNames.size()>;

// The phase that the seconds of `phase` count as. The host only hands its work to a GPU and goes on, so that its clock
// cannot tell what took how long: there all of it, and the wait for its end, is kDevice.
constexpr Phase counted_as(Phase phase, c10::DeviceType device) {
  const bool hosts_own = phase == Phase::kData || phase == Phase::kCheckpoint;
  return hosts_own || device == c10::DeviceType::CPU ? phase : Phase::kDevice;
}

// Whether a step on such a device has that phase.
constexpr bool is_counted(Phase phase, c10::DeviceType device) {
  return counted_as(phase, device) == phase && !(phase == Phase::kDevice && device == c10::DeviceType::CPU);
}

class PhaseClock {
 public:
  PhaseClock(parallel::Watchdog& watchdog, c10::Device device) : watchdog_(watchdog), device_(device.type()) {}
  PhaseClock(const PhaseClock&) = delete;
  PhaseClock& operator=(const PhaseClock&) = delete;

  // What comes now is this phase of `step`.
  void enter(Phase phase, int64_t step) {
    watchdog_.enter(kPhaseNames[static_cast<size_t>(phase)], step);
    turn_to(index(phase));
  }

  // As long as it lives, what comes is of another phase; then the one before goes on. The watchdog does not hear of it.
  class Visit {
   public:
    Visit(PhaseClock& clock, Phase phase) : clock_(clock), before_(clock.turn_to(clock.index(phase))) {}
    ~Visit() { clock_.turn_to(before_); }
    Visit(const Visit&) = delete;
    Visit& operator=(const Visit&) = delete;

   private:
    PhaseClock& clock_;
    const size_t before_;
  };

  // All work of the step is handed over. On a CPU that is its end, and what comes is of no phase; for a GPU's the host
  // has yet to wait, which counts until take().
  void handed_over() {
    if (device_ == c10::DeviceType::CPU) turn_to(kNone);
  }

  // The seconds of each phase since the last call; counting goes on with the next enter() or Visit.
  PhaseSeconds take() {
    turn_to(kNone);
    PhaseSeconds taken{};
    std::swap(taken, seconds_);
    return taken;
  }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr size_t kNone = kPhaseNames.size();
  size_t index(Phase phase) const { return static_cast<size_t>(counted_as(phase, device_)); }
  // Returns what it was.
  size_t turn_to(size_t phase) {
    const Clock::time_point now = Clock::now();
    if (now_in_ != kNone) seconds_[now_in_] += std::chrono::duration<double>(now - since_).count();
    since_ = now;
    return std::exchange(now_in_, phase);
  }

  parallel::Watchdog& watchdog_;
  const c10::DeviceType device_;
  PhaseSeconds seconds_{};
  size_t now_in_ = kNone;
  Clock::time_point since_;
};

}  // namespace cfm::trainer
