#pragma once
// The set-up of a run, one small step each, and the small decisions of its loop.

#include <ATen/core/Tensor.h>

#include <chrono>
#include <optional>

#include "data/dataset.h"
#include "data/loader.h"
#include "parallel/mpi_session.h"
#include "trainer/report.h"
#include "trainer/run_state.h"
#include "trainer/train.h"

namespace cfm::trainer {

// Sets LibTorch's threads for the network and returns their number: config.threads, or OMP_NUM_THREADS, or the cores
// that this process may use over the node's ranks.
int set_threads(const TrainConfig& config, const parallel::MpiSession& session);

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

// Longer than step_timeout, so that the watchdog's report comes first.
std::chrono::seconds collective_timeout(const TrainConfig& config);

// x in the memory format of the weights.
at::Tensor in_format(const at::Tensor& x, const TrainConfig& config);

// `weight` where loss is finite, NaN where it is not: a non-finite loss then poisons the gradient on every rank, also
// where its own gradient would have been finite.
at::Tensor finite_or_nan(double weight, const at::Tensor& loss);

// Throws SharedError once config.max_skipped updates in a row were skipped.
void refuse_endless_skipping(int64_t skipped, const TrainConfig& config, int64_t step);

bool due(int64_t every, int64_t step);

// Held-out loss and sample grid, where this step asks for them. Collective.
void look_at_held_out(const RunState& state, const TrainConfig& config, const OpenedData& data, Report& report,
                      const parallel::MpiSession& session, c10::Device device);

}  // namespace cfm::trainer
