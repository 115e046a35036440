#pragma once
// FID against network evaluations, for every solver, all from the same noises [arXiv:2210.02747v2 fig. 7].

#include <c10/core/Device.h>

#include <optional>

#include "evaluator/evaluation_metrics.h"
#include "evaluator/fid_plan.h"
#include "evaluator/network_flow.h"
#include "evaluator/shared_stop.h"
#include "parallel/mpi_session.h"

namespace cfm::evaluator {

// {"curve": [{"solver","steps" or "tolerance","nfe","fid","rms_error"}, ...], "exact": ..., "samples": ...} at rank 0,
// an empty object elsewhere; nothing if a stop was asked for. nfe: the mean over the samples. rms_error: of the first
// compared_samples(count) of them before they become bytes, from exact_solver's: evaluator/solver_error.h. What was
// kept under plan.file.parts() is not made again. Collective.
std::optional<Json> sweep(const FidPlan& plan, const SweepConfig& over, const FidInputs& inputs,
                          const NetworkFlow& network, c10::Device device, SharedStop& stop,
                          const parallel::MpiSession& session, EvaluationMetrics& metrics);

}  // namespace cfm::evaluator
