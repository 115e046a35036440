// cfm_sample: images from a checkpoint.

#include "data/hdf5_process.h"
#include "evaluator/flags.h"
#include "evaluator/sample.h"

int main(int argc, char** argv) {
  cfm::data::Hdf5Process hdf5;  // forks, so before everything else
  return cfm::parallel::run_program(argc, argv, cfm::evaluator::sample_help(), [&](cfm::parallel::MpiSession& session) {
    cfm::evaluator::sample(cfm::evaluator::sample_job_from_flags(), session, hdf5);
    return cfm::ExitCode::kDone;
  });
}
