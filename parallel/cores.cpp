#include "parallel/cores.h"

#include <sched.h>

#include <algorithm>
#include <string>

namespace cfm::parallel {

int share_of_cores(const MpiSession& session) {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  const bool known = ::sched_getaffinity(0, sizeof cores, &cores) == 0;
  const std::string mine = session.host() + std::string(reinterpret_cast<const char*>(&cores), sizeof cores);
  const auto all = session.control().all_gather(mine);
  const auto sharing = static_cast<int>(std::ranges::count(all, mine));
  return std::max(1, known ? CPU_COUNT(&cores) / sharing : 1);
}

}  // namespace cfm::parallel
