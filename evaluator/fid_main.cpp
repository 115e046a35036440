// cfm_eval_fid: FID and its relatives, of a checkpoint or of images.

#include "evaluator/fid.h"
#include "evaluator/fid_flags.h"

int main(int argc, char** argv) {
  cfm::data::Hdf5Process hdf5;  // forks, so before everything else
  const cfm::StopSignal stop;
  return cfm::parallel::run_program(argc, argv, cfm::evaluator::fid_help(), [&](cfm::parallel::MpiSession& session) {
    return cfm::evaluator::evaluate_fid(cfm::evaluator::fid_job_from_flags(), session, stop, hdf5);
  });
}
