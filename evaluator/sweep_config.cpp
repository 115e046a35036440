#include "evaluator/sweep_config.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>
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
  return "every one with up to " + nfe + " network evaluations (NFE) an image" +
         (tolerances.empty() ? "" : ", dopri5 at tolerances " + tolerances);
}

std::vector<flow::OdeConfig> sweep_solvers(const SweepConfig& config, const flow::OdeConfig& like) {
  std::vector<flow::OdeConfig> solvers;
  for (const std::string& name : flow::solver_names()) {
    const auto stages = static_cast<int>(flow::tableau_named(name).stages);
    std::set<int> seen;
    for (const double nfe : numbers_of(config.nfe)) {
      flow::OdeConfig ode = like;
      ode.solver = name;
      ode.steps = std::max(1, static_cast<int>(nfe) / stages);
      if (seen.insert(ode.steps).second) solvers.push_back(ode);
    }
  }
  std::set<double> seen;
  for (const double tolerance : numbers_of(config.tolerances)) {
    flow::OdeConfig ode = like;
    ode.solver = flow::kAdaptiveSolver;
    ode.atol = ode.rtol = tolerance;
    if (seen.insert(tolerance).second) solvers.push_back(ode);
  }
  return solvers;
}

}  // namespace cfm::evaluator
