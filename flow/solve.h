#pragma once
// Any number of samples through one ODE, by any solver, at one batch shape: the network always runs at net_batch rows.
// Finished samples leave, waiting ones take their place, a short batch is padded. What comes out for a sample depends
// on the batch's shape, as far as the field does, but not on its row, its neighbours or its turn (with step_control
// batch: on the samples that share its batch, consecutive ones of the queue).

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <optional>

#include "flow/field.h"
#include "flow/ode.h"

namespace cfm::flow {

struct Start {
  int64_t sample;
  at::Tensor x;  // [...]: one row, the same shape, dtype and device for all
};

struct Solved {
  int64_t sample;
  at::Tensor x;         // [...] at the end time
  double integral = 0;  // of the field's rate from the start time to the end time, along the solution
  int64_t nfe = 0;      // evaluations of the field, the first step's two included
};

struct Queue {
  std::function<std::optional<Start>()> next;  // the next one that waits; nothing: there are no more
  std::function<void(const Solved&)> done;     // in the order in which they finish
};

// From time `from` to time `to`, either way. Times outside the two are never asked for. Error, naming the sample, if
// its state or its integral is not finite any more, or if it takes more than config.max_nfe evaluations. REQUIRES: a
// valid config; its t_end is the later of the two times.
void solve(const Field& field, const OdeConfig& config, double from, double to, int64_t net_batch, const Queue& queue);

}  // namespace cfm::flow
