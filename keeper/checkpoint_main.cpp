// cfm_checkpoint COMMAND: looks after checkpoints. One process, no MPI.

#include <c10/util/Exception.h>

#include <algorithm>
#include <cstdio>

#include "keeper/commands.h"
#include "keeper/flags.h"

namespace {

int failed(const std::string& what, cfm::ExitCode code) {
  std::fputs(("cfm: error: " + what + "\n").c_str(), stderr);
  return static_cast<int>(code);
}

}  // namespace

int main(int argc, char** argv) try {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  if (std::ranges::find(arguments, "--help") != arguments.end()) {
    std::fputs(cfm::help_text(cfm::keeper::program_help()).c_str(), stdout);
    return 0;
  }
  if (arguments.empty())
    return failed("no command. Usage: cfm_checkpoint " + cfm::keeper::command_names() +
                      " --name=value ...; cfm_checkpoint --help tells more",
                  cfm::ExitCode::kWontWork);
  return static_cast<int>(cfm::keeper::run_command(arguments.front(), {arguments.begin() + 1, arguments.end()}));
} catch (const cfm::Error& error) {
  return failed(error.what(), error.exit_code());
} catch (const c10::Error& error) {
  return failed(error.what_without_backtrace(), cfm::ExitCode::kRetry);
} catch (const std::exception& error) {
  return failed(error.what(), cfm::ExitCode::kRetry);
}
