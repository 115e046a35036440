#include "evaluator/sweep_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "flow/tableau.h"

namespace cfm::evaluator {
namespace {

using ::testing::ElementsAre;

std::map<std::string, std::vector<int64_t>> evaluations_by_solver(const SweepConfig& config) {
  std::map<std::string, std::vector<int64_t>> by_solver;
  for (const flow::OdeConfig& ode : sweep_solvers(config, {}))
    if (!ode.adaptive()) by_solver[ode.solver].push_back(ode.fixed_nfe());
  return by_solver;
}

TEST(Sweep, HasEverySolverAtEveryBudgetByDefault) {
  auto evaluations = evaluations_by_solver({});
  EXPECT_EQ(evaluations.size(), flow::solver_names().size());
  EXPECT_THAT(evaluations["rk4"], ElementsAre(8, 16, 32, 64, 128));
  EXPECT_THAT(evaluations["dp5"], ElementsAre(6, 12, 30, 60, 126));  // six a step
}

TEST(Sweep, TakesOneStepWhereABudgetPaysForNoneAndNothingTwice) {
  SweepConfig config;
  config.nfe = "2,4,4,7";
  config.tolerances = "1e-2,0.01,1e-3";
  auto evaluations = evaluations_by_solver(config);
  EXPECT_THAT(evaluations["euler"], ElementsAre(2, 4, 7));
  EXPECT_THAT(evaluations["midpoint"], ElementsAre(2, 4, 6));
  EXPECT_THAT(evaluations["rk4"], ElementsAre(4));
  EXPECT_THAT(evaluations["dp5"], ElementsAre(6));
  std::vector<double> tolerances;
  for (const flow::OdeConfig& ode : sweep_solvers(config, {}))
    if (ode.adaptive()) tolerances.push_back(ode.rtol);
  EXPECT_THAT(tolerances, ElementsAre(1e-2, 1e-3));
}

}  // namespace
}  // namespace cfm::evaluator
