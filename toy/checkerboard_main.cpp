// cfm_checkerboard: one method on the 2-D checkerboard, in one process.

#include <cstdio>

#include "toy/flags.h"

namespace {

cfm::ExitCode run(const std::vector<std::string>& arguments) {
  const cfm::ProgramHelp program = cfm::toy::checkerboard_help();
  if (cfm::parse_command_line(program, arguments)) {
    std::fputs(cfm::help_text(program).c_str(), stdout);
    return cfm::ExitCode::kDone;
  }
  return cfm::naming_places(program, arguments, [] {
    cfm::toy::run_experiment(cfm::toy::experiment_from_flags());
    return cfm::ExitCode::kDone;
  });
}

int said(const std::exception& error, cfm::ExitCode code) {
  std::fprintf(stderr, "cfm: error: %s\n", error.what());
  return static_cast<int>(code);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return static_cast<int>(run({argv + 1, argv + argc}));
  } catch (const cfm::Error& error) {
    return said(error, error.exit_code());
  } catch (const std::exception& error) {
    return said(error, cfm::ExitCode::kRetry);
  }
}
