#include "keeper/flags.h"

#include <gflags/gflags.h>

#include <algorithm>

#include "base/unused_flags.h"

DEFINE_string(run_dir, "", "run: folder of a run, as of cfm_train");
DEFINE_int64(step, -1, "run: of verify and export: of which checkpoint; -1: verify takes all, export the newest");

namespace cfm::keeper {

ProgramHelp program_help() {
  return {"cfm_checkpoint list|verify",
          "looks after checkpoints: list: what there is of a run; verify: hashes every file of a run, of a step, or of "
          "any runs, checkpoints, exports and weights files (verify PATH...)",
          "cfm_checkpoint list --run_dir=runs/digits",
          __FILE__,
          {"run"}};
}

Problems flags_of_others(const std::string& command, const std::vector<std::string>& used) {
  const auto is_used = [&](const std::string& name) { return std::ranges::find(used, name) != used.end(); };
  std::vector<std::string> others;
  for (const FlagSetting& flag : flag_settings(program_help()))
    if (!is_used(flag.name) && !is_used(flag.group)) others.push_back(flag.name);
  return unused_flags(others, "cfm_checkpoint " + command + (used.empty() ? " PATH" : "") + " does not look at it");
}

RunChoice run_from_flags() {
  Problems problems;
  if (FLAGS_run_dir.empty()) problems.emplace_back("--run_dir is missing: give the folder of a run");
  if (FLAGS_step < -1) problems.push_back("--step=" + std::to_string(FLAGS_step) + ": expected a step");
  check_no_problems(problems);
  return {FLAGS_run_dir, FLAGS_step == -1 ? std::nullopt : std::optional(FLAGS_step)};
}

}  // namespace cfm::keeper
