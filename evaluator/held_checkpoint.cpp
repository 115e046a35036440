#include "evaluator/held_checkpoint.h"

#include <chrono>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "base/log.h"
#include "checkpoint/store.h"

namespace cfm::evaluator {
namespace {

constexpr std::chrono::milliseconds kLook(100);

HeldCheckpoint held(const WeightsChoice& weights, LeaseTimes times, const StopSignal& stop) {
  for (;;) {
    const int64_t step = checkpoint::choose_step(weights.run_dir, weights.step);
    std::unique_ptr<checkpoint::Hold> hold = hold_or_warn(weights.run_dir, step, times);
    if (!hold) return {step, nullptr};
    std::optional<bool> keeps = hold->keeps();
    for (; !keeps; keeps = hold->keeps()) {
      if (stop.raised() != 0) throw Error("stopped by a signal before the work began", ExitCode::kRequeue);
      std::this_thread::sleep_for(kLook);
    }
    if (*keeps) return {step, std::move(hold)};
  }  // deleted in between: another one is the newest, or choose_step says what there is
}

}  // namespace

std::unique_ptr<checkpoint::Hold> hold_or_warn(const std::filesystem::path& run_dir, int64_t step, LeaseTimes times) {
  try {
    return std::make_unique<checkpoint::Hold>(run_dir, step, times);
  } catch (const Error& e) {
    warn(checkpoint::step_name(step) + " is read without a hold, and may be deleted before its end: " + e.what());
    return nullptr;
  }
}

HeldCheckpoint hold_checkpoint(const WeightsChoice& weights, double lease_seconds, const parallel::MpiSession& session,
                               const StopSignal& stop) {
  if (weights.run_dir.empty()) return {weights.step, nullptr};
  HeldCheckpoint result;
  parallel::agree_on(session, [&] {
    if (session.rank() == 0) result = held(weights, lease_times(lease_seconds), stop);
  });
  result.step = std::stoll(session.control().broadcast(std::to_string(result.step)));
  return result;
}

}  // namespace cfm::evaluator
