#include "evaluator/threads.h"

#include <ATen/Parallel.h>

#include <cstdlib>

#include "parallel/cores.h"

namespace cfm::evaluator {

int use_threads(const parallel::MpiSession& session, int wanted) {
  const int share = parallel::share_of_cores(session);
  if (wanted == 0 && std::getenv("OMP_NUM_THREADS") != nullptr) return at::get_num_threads();
  const int threads = wanted > 0 ? wanted : share;
  at::set_num_threads(threads);
  return threads;
}

}  // namespace cfm::evaluator
