#include "trainer/checkpoints.h"

#include "trainer/prepare.h"
#include "trainer/stopwatch.h"

namespace cfm::trainer {

Checkpoints::Checkpoints(const RunState& state, const TrainConfig& config, const data::Fingerprint& fingerprint,
                         const checkpoint::Metadata& last_bits, checkpoint::Store& store, Report& report,
                         parallel::Watchdog& watchdog, PhaseClock& phases)
    : state_(state),
      config_(config),
      fingerprint_(fingerprint),
      last_bits_(last_bits),
      store_(store),
      report_(report),
      watchdog_(watchdog),
      phases_(phases) {}

void Checkpoints::take(bool last) {
  if (!last && !due(config_.checkpoint_every, state_.at.step)) return;
  const PhaseClock::Visit visit(phases_, Phase::kCheckpoint);
  watchdog_.wait("checkpoint", state_.at.step);  // for its own thread and those of others
  collect();
  begun_at_ = state_.at.step;
  const Stopwatch waiting;
  store_.save(parts_of(state_, config_, fingerprint_), manifest_of(state_, config_, fingerprint_, last_bits_));
  stall_seconds_ = waiting.seconds();
  const bool committed = (config_.async_checkpoints && !last) || collect();
  if (last && !committed)
    throw SharedError("the last checkpoint of the run, of step " + std::to_string(state_.at.step) +
                          ", could not be written: see above. The same command continues from the one before.",
                      ExitCode::kRetry);
}

void Checkpoints::await_copy() {
  const PhaseClock::Visit visit(phases_, Phase::kCheckpoint);
  const Stopwatch waiting;
  store_.await_copy();
  stall_seconds_ += waiting.seconds();
}

parallel::StepSummary Checkpoints::hear(int64_t step, parallel::StepSummary all) {
  if (written_by_all(all) && step > begun_at_) collect();
  return all;
}

// False if there was a save and it failed.
bool Checkpoints::collect() {
  const PhaseClock::Visit visit(phases_, Phase::kCheckpoint);
  const Stopwatch waiting;
  const auto save = store_.collect([this] { watchdog_.wait("checkpoint", state_.at.step); });
  if (!save) return true;
  stall_seconds_ += waiting.seconds();
  if (save->problem.empty()) {
    report_.checkpoint(save->step, save->seconds, stall_seconds_);
  } else {
    report_.checkpoint_failed(save->step, save->problem);
  }
  for (const std::string& problem : save->undeleted) report_.deletion_failed(save->step, problem);
  return save->problem.empty();
}

}  // namespace cfm::trainer
