#pragma once
// The set-up of a run, one small step each.

#include <chrono>
#include <memory>
#include <optional>

#include "base/lease.h"
#include "base/stop_signal.h"
#include "checkpoint/store.h"
#include "flow/draws.h"
#include "parallel/mpi_session.h"
#include "parallel/watchdog.h"
#include "trainer/train.h"

namespace cfm::trainer {

// Throws SharedError if there are more ranks than images in a batch.
void check_ranks(const TrainConfig& config, const parallel::MpiSession& session);

// Error if run_dir is a file, or the folder of the data.
void refuse_wrong_folder(const TrainConfig& config);

// Creates run_dir and shows that it can be written. Collective.
void prepare_run_dir(const TrainConfig& config, const parallel::MpiSession& session);

// The run's one writer: rank 0 holds RUN/trainer.lease as long as what is returned there lives (elsewhere it is empty).
// What an ended trainer left behind is taken over, at once where it is known to have ended, otherwise when it has not
// beaten for --lease_seconds; one that is at work is named in a SharedError(kWontWork). From then on failures are
// written into RUN/failures.jsonl: first of all that the start before left without a word, if it did. Collective.
std::unique_ptr<Lease> own_run(const TrainConfig& config, const parallel::MpiSession& session, const StopSignal& stop);

// work() on every rank: all return its value, or all throw. Collective.
template <class Work>
auto agreed(const parallel::MpiSession& session, const Work& work) {
  std::optional<decltype(work())> result;
  parallel::agree_on(session, [&] { result.emplace(work()); });
  return std::move(*result);
}

flow::DrawConfig draw_config(const TrainConfig& config);

// `lease`: that of own_run.
// A lease that turns out to be another's closes `failures`, which is that job's, too.
checkpoint::StoreConfig store_config(const TrainConfig& config, const Lease* lease, parallel::FailureLog& failures);

// --step_timeout, and six times as long for what comes before the first step.
parallel::WatchdogConfig watchdog_config(const TrainConfig& config);

// Longer than step_timeout, so that the watchdog's report comes first.
std::chrono::seconds collective_timeout(const TrainConfig& config);

// Whether something that is done every so many steps (0: never) is done at this one.
bool due(int64_t every, int64_t step);

}  // namespace cfm::trainer
