#pragma once
// One step of training, from shard to averages.

#include <ATen/core/Tensor.h>

#include <functional>

#include "data/loader.h"
#include "flow/draws.h"
#include "parallel/gradient_reducer.h"
#include "parallel/mpi_session.h"
#include "trainer/phases.h"
#include "trainer/run_state.h"
#include "trainer/train.h"

namespace cfm::trainer {

// What a step works with.
struct StepTools {
  const TrainConfig& config;
  const parallel::MpiSession& session;
  c10::Device device;
  const flow::DrawConfig& draws;
  RunState& state;
  parallel::GradientReducer& reducer;
  data::Loader& loader;
  PhaseClock& phases;
};

struct StepMade {
  at::Tensor loss_sum;       // [], float32 on the device: over this rank's samples
  at::Tensor loss_by_time;   // float64 [2, kTimeBins] on the device (trainer/loss_by_time.h)
  double gradient_norm = 0;  // before clipping; equal on all ranks, as is lr
  double lr = 0;
  int64_t averaged_updates = 0;  // that the averages had seen before this one
  bool skipped = false;          // a gradient that is not finite: weights, moments and averages are as they were
};

// Makes the step behind state.at, and moves that on. `changes` is called once the gradient is there, before the state
// changes. Collective.
StepMade make_step(const StepTools& tools, const std::function<void()>& changes);

}  // namespace cfm::trainer
