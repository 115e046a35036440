#include "evaluator/held_checkpoint.h"

#include <string>

#include "checkpoint/store.h"

namespace cfm::evaluator {

checkpoint::HeldStep hold_checkpoint(const WeightsChoice& weights, double lease_seconds,
                                     const parallel::MpiSession& session, const StopSignal& stop) {
  if (weights.run_dir.empty()) return {weights.step, nullptr};
  checkpoint::HeldStep result;
  parallel::agree_on(session, [&] {
    if (session.rank() != 0) return;
    result = checkpoint::hold_chosen(
        weights.run_dir, [&] { return checkpoint::choose_step(weights.run_dir, weights.step); },
        lease_times(lease_seconds),
        [&] {
          if (stop.raised() != 0) throw Error("stopped by a signal before the work began", ExitCode::kRequeue);
        });
  });
  result.step = std::stoll(session.control().broadcast(std::to_string(result.step)));
  return result;
}

}  // namespace cfm::evaluator
