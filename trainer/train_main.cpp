// cfm_train: from shards to checkpoints, on every rank that MPI started.

#include "base/log.h"
#include "base/stop_signal.h"
#include "parallel/mpi_session.h"
#include "trainer/flags.h"
#include "trainer/train.h"

int main(int argc, char** argv) {
  cfm::data::Hdf5Process hdf5;  // forks, so before everything else
  const cfm::StopSignal stop;
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  return cfm::parallel::run_mpi_main(argc, argv, [&](cfm::parallel::MpiSession& session) {
    return cfm::naming_places(cfm::trainer::program_help(), arguments, [&] {
      const auto config = cfm::trainer::read_flags(arguments);
      if (session.rank() == 0) cfm::say(config ? config->settings : cfm::trainer::help());
      if (!config) return cfm::ExitCode::kDone;
      return cfm::trainer::train(*config, session, stop, hdf5);
    });
  });
}
