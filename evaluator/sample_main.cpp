// cfm_sample: images from a checkpoint.

#include <cstdio>

#include "data/hdf5_process.h"
#include "evaluator/flags.h"
#include "evaluator/sample.h"

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  cfm::data::Hdf5Process hdf5;  // forks, so before everything else
  return cfm::parallel::run_mpi_main(argc, argv, [&](cfm::parallel::MpiSession& session) {
    const cfm::ProgramHelp help = cfm::evaluator::sample_help();
    if (cfm::parse_command_line(help, arguments)) {
      if (session.rank() == 0) std::fputs(cfm::help_text(help).c_str(), stdout);
      return cfm::ExitCode::kDone;
    }
    return cfm::naming_places(help, arguments, [&] {
      cfm::evaluator::sample(cfm::evaluator::sample_job_from_flags(), session, hdf5);
      return cfm::ExitCode::kDone;
    });
  });
}
