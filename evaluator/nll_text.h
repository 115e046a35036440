#pragma once
// What cfm_eval_nll says to people, and what its result file says beside the numbers.

#include <string>

#include "evaluator/machine.h"
#include "evaluator/nll_check.h"
#include "evaluator/nll_plan.h"
#include "evaluator/nll_result.h"
#include "parallel/mpi_session.h"

namespace cfm::evaluator {

// What will be done: a line each for weights, images, likelihood, solver, machine and the result's file.
std::string settings_text(const NllJob& job, const NllPlan& plan, const checkpoint::Weights& weights,
                          const data::Dataset& images, const Machine& machine);

// What it will cost: from the seconds of one network call with its gradient.
std::string cost_text(const NllPlan& plan, int64_t missing, double call_seconds, int ranks);

std::string convergence_text(const NllPlan& plan, const ConvergenceCheck& check);
std::string outcome_text(const NllPlan& plan, const NllSummary& summary, double seconds);

// The result file. `check`: null without one.
Json result_json(const NllJob& job, const NllPlan& plan, const checkpoint::Weights& weights,
                 const data::Dataset& images, const Machine& machine, const NllSummary& summary,
                 const ConvergenceCheck* check, double seconds);

// "2.98712 +- 0.00310 bits/dim"
std::string bits_text(const MeanNll& mean);

}  // namespace cfm::evaluator
