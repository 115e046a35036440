// cfm_eval_fid: FID and its relatives, of a checkpoint or of images.

#include <cstdio>

#include "evaluator/fid.h"
#include "evaluator/fid_flags.h"

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  cfm::data::Hdf5Process hdf5;  // forks, so before everything else
  const cfm::StopSignal stop;
  return cfm::parallel::run_mpi_main(argc, argv, [&](cfm::parallel::MpiSession& session) {
    const cfm::ProgramHelp help = cfm::evaluator::fid_help();
    if (cfm::parse_command_line(help, arguments)) {
      if (session.rank() == 0) std::fputs(cfm::help_text(help).c_str(), stdout);
      return cfm::ExitCode::kDone;
    }
    return cfm::naming_places(help, arguments, [&] {
      return cfm::evaluator::evaluate_fid(cfm::evaluator::fid_job_from_flags(), session, stop, hdf5);
    });
  });
}
