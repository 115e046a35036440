#pragma once
// Dormand-Prince 5(4) over a batch whose rows each have their own time and step size.

#include "flow/solve.h"

namespace cfm::flow {

// flow::solve for the solver dopri5. The solution of order 5 is continued; a step's last evaluation is the next one's
// first; the first step's two evaluations of a new sample ride along with the last two of the others' steps, so that
// the second stage, whose weights are zero, never costs a divergence. The end time is met exactly, by a shorter last
// step. With step_control sample all other steps are on the ladder of flow/step_size.h, so that a batch of another
// shape, in which the field's last bits differ, hardly ever changes a sample's steps.
void solve_adaptively(const Field& field, const OdeConfig& config, double from, double to, int64_t net_batch,
                      const Queue& queue);

}  // namespace cfm::flow
