// cfm_train: from shards to checkpoints, on every rank that MPI started.

#include "base/log.h"
#include "base/stop_signal.h"
#include "parallel/mpi_session.h"
#include "trainer/check.h"
#include "trainer/flags.h"
#include "trainer/train.h"

int main(int argc, char** argv) {
  cfm::data::Hdf5Process hdf5;  // forks, so before everything else
  const cfm::StopSignal stop;
  return cfm::parallel::run_program(argc, argv, cfm::trainer::program_help(), [&](cfm::parallel::MpiSession& session) {
    const cfm::trainer::TrainConfig config = cfm::trainer::train_config_from_flags();
    if (session.rank() == 0) cfm::say(config.settings);
    if (config.check) return cfm::trainer::check_launch(config, session, stop, hdf5);
    return cfm::trainer::train(config, session, stop, hdf5);
  });
}
