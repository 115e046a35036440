#include "evaluator/threads.h"

#include <ATen/Parallel.h>
#include <sched.h>

#include <algorithm>
#include <cstdlib>
#include <string>

namespace cfm::evaluator {

int use_threads(const parallel::MpiSession& session, int wanted) {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  const bool known = ::sched_getaffinity(0, sizeof cores, &cores) == 0;
  const std::string mine = session.host() + std::string(reinterpret_cast<const char*>(&cores), sizeof cores);
  const auto all = session.control().all_gather(mine);
  const auto sharing = static_cast<int>(std::ranges::count(all, mine));
  if (wanted == 0 && std::getenv("OMP_NUM_THREADS") != nullptr) return at::get_num_threads();
  const int threads = wanted > 0 ? wanted : std::max(1, known ? CPU_COUNT(&cores) / sharing : 1);
  at::set_num_threads(threads);
  return threads;
}

}  // namespace cfm::evaluator
