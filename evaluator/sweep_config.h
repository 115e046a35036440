#pragma once
#include <string>
#include <vector>

#include "base/error.h"
#include "evaluator/result_file.h"
#include "flow/ode.h"

namespace cfm::evaluator {

// --sweep: every solver, each with several numbers of network evaluations.
struct SweepConfig {
  std::string nfe = "8,16,32,64,128";              // a sample, at most, of solvers on a grid
  std::string tolerances = "1e-2,1e-3,1e-4,1e-5";  // atol = rtol of dopri5; empty: without it
  Problems validate() const;
  Json json() const;
  std::string text() const;
};

// Each solver on a grid with as many steps as each number of evaluations pays for, one at least, and dopri5 at each
// tolerance; none twice; else `like`. What a solver really takes is its fixed_nfe(). REQUIRES: a valid config.
std::vector<flow::OdeConfig> sweep_solvers(const SweepConfig& config, const flow::OdeConfig& like);

}  // namespace cfm::evaluator
