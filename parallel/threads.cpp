#include "parallel/threads.h"

#include <ATen/Parallel.h>

#include <cstdlib>

#include "parallel/cores.h"

namespace cfm::parallel {

int use_threads(const MpiSession& session, int wanted) {
  const int share = share_of_cores(session);
  const int threads = wanted > 0 ? wanted : std::getenv("OMP_NUM_THREADS") != nullptr ? at::get_num_threads() : share;
  at::set_num_threads(threads);
  return threads;
}

}  // namespace cfm::parallel
