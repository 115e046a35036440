#include "base/open_files.h"

#include <sys/resource.h>

#include <algorithm>

namespace cfm {

void allow_open_files(size_t count) {
  constexpr rlim_t kOthers = 256;
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= count + kOthers) return;
  limit.rlim_cur = std::min(limit.rlim_max, count + kOthers);
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace cfm
