#pragma once
// --watch=RUN: every committed checkpoint of a run that is being trained, each once, shared among the jobs that watch.

#include <filesystem>
#include <functional>
#include <string>

#include "base/command_line.h"
#include "base/error.h"
#include "base/stop_signal.h"
#include "evaluator/claim.h"
#include "evaluator/held_checkpoint.h"
#include "evaluator/network_flow.h"
#include "parallel/mpi_session.h"

namespace cfm::evaluator {

struct WatchConfig {
  std::filesystem::path run_dir;  // may be yet to come; empty: nothing is watched
  std::string task;               // what is done to each checkpoint: jobs of the same share them
  double idle_seconds = 3600;     // without a new checkpoint, after which a job ends though the run is not complete
  double lease_seconds = 60;      // after which the claim of a job that shows no life is taken over
  bool on() const { return !run_dir.empty(); }
  Problems validate() const;
};

// What is wrong with the job rather than with a checkpoint, and would be with all of them.
class WrongJob : public SharedError {
 public:
  using SharedError::SharedError;
};

// parallel::agree_on whose errors are the job's. Collective.
void agree_on_job(const parallel::MpiSession& session, const std::function<void()>& work);

// Evaluates one checkpoint of the run if `claim` says that it is this job's to do. Collective.
using EvaluateStep = std::function<Outcome(int64_t step, const ClaimResult& claim)>;

// A name for what a job is to do on every checkpoint: of all flags but those that say which run, for how long, and who
// is told.
std::string task_of(const ProgramHelp& program);

// Calls `evaluate` for each committed checkpoint, oldest first, until the run is complete (its newest checkpoint is of
// its last step, and no trainer is at it) and all are evaluated, here or by other jobs; or until there has been nothing
// to do for idle_seconds. As long as the job lives the trainer keeps --keep_unevaluated checkpoints for it, and the one
// that it is at; one that is deleted before its turn is said and left out. One that cannot be evaluated (damaged,
// diverged) is said, the others go on, and the job ends in a SharedError that lists it; a WrongJob ends it at once, and
// so does a run that never appears, after idle_seconds. kRequeue after a signal. Collective.
ExitCode watch_run(const WatchConfig& config, const EvaluateStep& evaluate, const parallel::MpiSession& session,
                   const StopSignal& stop);

// Of a job that takes either: --run_dir and --step, --weights_file, or --watch.
Problems weights_problems(const WeightsChoice& weights, const WatchConfig& watch);

// The folder of the run, or the file, that a job evaluates.
inline const std::filesystem::path& evaluated_thing(const WeightsChoice& weights, const WatchConfig& watch) {
  return watch.on() ? watch.run_dir : weights.run_dir.empty() ? weights.weights_file : weights.run_dir;
}

// `evaluate(job, claim)` -> Outcome: once, or with job.watch for every checkpoint of the run. Collective.
template <class Job, class Evaluate>
ExitCode evaluate_or_watch(const Job& job, const Evaluate& evaluate, const parallel::MpiSession& session,
                           const StopSignal& stop) {
  if (!job.watch.on()) {
    const ClaimResult claim = claim_or_refuse(job.watch.lease_seconds, session, stop);
    const checkpoint::HeldStep held = hold_checkpoint(job.weights, job.watch.lease_seconds, session, stop);
    Job one = job;
    one.weights.step = held.step;
    return evaluate(one, claim) == Outcome::kStopped ? ExitCode::kRequeue : ExitCode::kDone;
  }
  return watch_run(
      job.watch,
      [&](int64_t step, const ClaimResult& claim) {
        Job one = job;
        one.weights.run_dir = job.watch.run_dir;
        one.weights.step = step;
        return evaluate(one, claim);
      },
      session, stop);
}

}  // namespace cfm::evaluator
