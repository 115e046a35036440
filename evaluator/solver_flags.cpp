#include "evaluator/solver_flags.h"

#include <gflags/gflags.h>

#include <algorithm>

#include "base/unused_flags.h"

namespace cfm::evaluator {
namespace {

// T: the type of its DEFINE.
template <typename T>
T value_of(const char* name) {
  return *static_cast<const T*>(gflags::GetCommandLineFlagInfoOrDie(name).flag_ptr);
}

bool exists(const char* name) {
  gflags::CommandLineFlagInfo flag;
  return gflags::GetCommandLineFlagInfo(name, &flag);
}

}  // namespace

flow::OdeConfig ode_from_flags() {
  flow::OdeConfig ode;
  ode.solver = value_of<std::string>("solver");
  ode.steps = value_of<int32_t>("steps");
  ode.grid = value_of<std::string>("grid");
  ode.atol = value_of<double>("atol");
  ode.rtol = value_of<double>("rtol");
  ode.step_control = value_of<std::string>("step_control");
  if (exists("error_norm")) ode.error_norm = value_of<std::string>("error_norm");
  ode.max_nfe = value_of<int64_t>("max_nfe");
  return ode;
}

Problems unused_solver_flags(const flow::OdeConfig& ode) {
  if (ode.adaptive())
    return unused_flags({"steps", "grid"},
                        "--solver=dopri5 chooses its steps itself. Leave it out, or give a --solver on a grid");
  const std::vector<std::string> names = flow::solver_names();
  if (std::ranges::find(names, ode.solver) == names.end()) return {};
  return unused_flags({"atol", "rtol", "step_control", "error_norm", "max_nfe"},
                      "--solver=" + ode.solver + " takes the steps of its grid. Leave it out, or give --solver=dopri5");
}

}  // namespace cfm::evaluator
