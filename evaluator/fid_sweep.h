#pragma once
// FID against network evaluations, for every solver, all from the same noises [arXiv:2210.02747v2 fig. 7].

#include <c10/core/Device.h>

#include <optional>

#include "evaluator/fid_plan.h"
#include "evaluator/network_flow.h"
#include "evaluator/shared_stop.h"
#include "parallel/mpi_session.h"

namespace cfm::evaluator {

// The solution that the others are compared with.
inline constexpr const char* kExactSolver = "rk4";
inline constexpr int kExactSteps = 1000;

// {"curve": [{"solver","steps" or "tolerance","nfe","fid","rms_error"}, ...], "exact": ..., "samples": ...} at rank 0,
// an empty object elsewhere; nothing if a stop was asked for. nfe: the mean over the samples. rms_error: of the samples
// before they become bytes, over the first net_batch of them, from kExactSolver's with kExactSteps. Points that were
// kept under plan.file.parts() are not made again. Collective.
std::optional<Json> sweep(const FidPlan& plan, const SweepConfig& over, const FidInputs& inputs,
                          const NetworkFlow& network, c10::Device device, SharedStop& stop,
                          const parallel::MpiSession& session);

}  // namespace cfm::evaluator
