#pragma once
#include <c10/core/Device.h>

#include <string>

#include "evaluator/result_file.h"
#include "parallel/mpi_session.h"

namespace cfm::evaluator {

// What an evaluation ran on, for its result. No setting: results from other machines are compared with it.
struct Machine {
  int ranks = 1, threads = 1;  // threads: of a rank
  std::string device, host;    // rank 0's
  std::string
      cpu_capability;  // LibTorch's instruction set, which may decide last bits: "AVX2"; several: "AVX2, AVX512"
};

// `threads`: of a rank. Collective.
Machine this_machine(const parallel::MpiSession& session, c10::Device device, int threads);

Json to_json(const Machine& machine);

}  // namespace cfm::evaluator
