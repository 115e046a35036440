#pragma once
// The flags by which all three programs say how an ODE is solved: --solver, --steps, --grid, --atol, --rtol,
// --step_control, --max_nfe, and --error_norm where there is one. Each program defines them with its own defaults.

#include "base/error.h"
#include "flow/ode.h"

namespace cfm::evaluator {

// What the flags say. REQUIRES: the program has them.
flow::OdeConfig ode_from_flags();

// A problem for each of them that was given though it does nothing with the given --solver; none for a --solver that
// there is not, which is another problem.
Problems unused_solver_flags(const flow::OdeConfig& ode);

}  // namespace cfm::evaluator
