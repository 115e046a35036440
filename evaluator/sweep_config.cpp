#include "evaluator/sweep_config.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <sstream>

#include "flow/tableau.h"

namespace cfm::evaluator {
namespace {

constexpr double kMostEvaluations = 100'000;

// The numbers of a list "8,16,32"; 0 for what is no number.
std::vector<double> numbers_of(const std::string& list) {
  std::vector<double> numbers;
  std::istringstream words(list);
  for (std::string word; std::getline(words, word, ',');) {
    double number = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), number);
    const bool whole = error == std::errc() && end == word.data() + word.size();
    numbers.push_back(whole ? number : 0);
  }
  return numbers;
}

bool is_budget(double nfe) { return nfe >= 1 && nfe <= kMostEvaluations && nfe == std::floor(nfe); }

}  // namespace

Problems SweepConfig::validate() const {
  Problems problems;
  const std::vector<double> budgets = numbers_of(nfe), levels = numbers_of(tolerances);
  if (budgets.empty() || !std::ranges::all_of(budgets, is_budget))
    problems.push_back("--sweep_nfe=" + nfe + ": expected numbers of network evaluations, 1 to 100000, as in 8,16,32");
  if (!std::ranges::all_of(levels, [](double level) { return level > 0 && level < 1; }))
    problems.push_back("--sweep_tolerances=" + tolerances + ": expected numbers between 0 and 1, as in 1e-3,1e-5");
  return problems;
}

Json SweepConfig::json() const { return {{"nfe", nfe}, {"tolerances", tolerances}}; }

std::string SweepConfig::text() const {
  return "every one with " + nfe + " network evaluations (NFE) an image" +
         (tolerances.empty() ? "" : ", dopri5 at tolerances " + tolerances);
}

std::vector<flow::OdeConfig> sweep_solvers(const SweepConfig& config, const flow::OdeConfig& like) {
  std::vector<flow::OdeConfig> solvers;
  for (const std::string& name : flow::solver_names()) {
    const auto stages = static_cast<int64_t>(flow::tableau_named(name).stages);
    for (const double number : numbers_of(config.nfe)) {
      const auto nfe = static_cast<int64_t>(number);
      if (nfe % stages != 0) continue;
      flow::OdeConfig ode = like;
      ode.solver = name;
      ode.steps = static_cast<int>(nfe / stages);
      solvers.push_back(ode);
    }
  }
  for (const double tolerance : numbers_of(config.tolerances)) {
    flow::OdeConfig ode = like;
    ode.solver = flow::kAdaptiveSolver;
    ode.atol = ode.rtol = tolerance;
    solvers.push_back(ode);
  }
  return solvers;
}

}  // namespace cfm::evaluator
