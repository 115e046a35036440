#include "base/error.h"

namespace cfm {

void check(bool ok, const std::string& what) {
  if (!ok) throw Error(what);
}

void check_no_problems(const Problems& problems) {
  if (problems.empty()) return;
  std::string all = problems.size() == 1 ? "" : std::to_string(problems.size()) + " problems:";
  for (const std::string& problem : problems) all += (problems.size() == 1 ? "" : "\n  ") + problem;
  throw SharedError(all);
}

}  // namespace cfm
