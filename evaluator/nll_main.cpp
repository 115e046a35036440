// cfm_eval_nll: bits per dimension of a checkpoint.

#include "evaluator/nll.h"
#include "evaluator/nll_flags.h"

int main(int argc, char** argv) {
  cfm::data::Hdf5Process hdf5;  // forks, so before everything else
  const cfm::StopSignal stop;
  return cfm::parallel::run_program(argc, argv, cfm::evaluator::nll_help(), [&](cfm::parallel::MpiSession& session) {
    return cfm::evaluator::evaluate_nll(cfm::evaluator::nll_job_from_flags(), session, stop, hdf5);
  });
}
