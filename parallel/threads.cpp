#include "parallel/threads.h"

#include <ATen/Parallel.h>
#include <sched.h>

#include <algorithm>
#include <cstdlib>
#include <string>

namespace cfm::parallel {
namespace {

// Collective.
int share_of_cores(const MpiSession& session) {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  const bool known = ::sched_getaffinity(0, sizeof cores, &cores) == 0;
  const std::string mine = session.host() + std::string(reinterpret_cast<const char*>(&cores), sizeof cores);
  const auto all = session.control().all_gather(mine);
  const auto sharing = static_cast<int>(std::ranges::count(all, mine));
  return std::max(1, known ? CPU_COUNT(&cores) / sharing : 1);
}

}  // namespace

int use_threads(const MpiSession& session, int wanted) {
  const int share = share_of_cores(session);
  const int threads = wanted > 0 ? wanted : std::getenv("OMP_NUM_THREADS") != nullptr ? at::get_num_threads() : share;
  at::set_num_threads(threads);
  return threads;
}

}  // namespace cfm::parallel
