#pragma once
// The set-up of a run, one small step each.

#include <chrono>
#include <optional>

#include "data/dataset.h"
#include "data/loader.h"
#include "flow/draws.h"
#include "parallel/mpi_session.h"
#include "parallel/watchdog.h"
#include "trainer/train.h"

namespace cfm::trainer {

// Throws SharedError if there are more ranks than images in a batch.
void check_ranks(const TrainConfig& config, const parallel::MpiSession& session);

struct OpenedData {
  data::Dataset train;
  std::optional<data::Dataset> val;
};

// Opens and checks the shards on every rank; a fault on any rank is all ranks' fault. Collective.
OpenedData open_data(const TrainConfig& config, const parallel::MpiSession& session);

// The configuration with channels, image size and classes taken from the data; throws SharedError if they do not fit
// it.
TrainConfig fitted_to_data(TrainConfig config, const OpenedData& data);

// Creates run_dir and shows that it can be written. Collective.
void prepare_run_dir(const TrainConfig& config, const parallel::MpiSession& session);

// work() on every rank: all return its value, or all throw. Collective.
template <class Work>
auto agreed(const parallel::MpiSession& session, const Work& work) {
  std::optional<decltype(work())> result;
  parallel::agree_on(session, [&] { result.emplace(work()); });
  return std::move(*result);
}

flow::DrawConfig draw_config(const TrainConfig& config);
data::LoaderConfig loader_config(const TrainConfig& config, const parallel::MpiSession& session, c10::Device device);

// --step_timeout, and six times as long for what comes before the first step.
parallel::WatchdogConfig watchdog_config(const TrainConfig& config);

// Longer than step_timeout, so that the watchdog's report comes first.
std::chrono::seconds collective_timeout(const TrainConfig& config);

// Whether something that is done every so many steps (0: never) is done at this one.
bool due(int64_t every, int64_t step);

}  // namespace cfm::trainer
