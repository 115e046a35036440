#include "parallel/gpu_choice.h"

#include <map>
#include <utility>

#include "base/error.h"

namespace cfm::parallel {

int gpu_of_rank(int local_rank, int local_size, int visible) {
  check(visible > 0, "--device=cuda, but no GPU is visible: start it where there is one, or ask for --device=cpu");
  if (visible == 1) return 0;
  check(local_size <= visible, "--device=cuda: " + std::to_string(local_size) + " ranks on this node, but " +
                                   std::to_string(visible) + " GPUs: start one rank per GPU, or use --device=cpu");
  return local_rank;
}

void check_distinct_gpus(const std::vector<GpuName>& by_rank) {
  std::map<std::pair<std::string, std::string>, size_t> first_rank_on;
  for (size_t r = 0; r < by_rank.size(); ++r) {
    const auto [entry, is_new] = first_rank_on.emplace(std::pair(by_rank[r].machine, by_rank[r].pci_bus_id), r);
    if (is_new) continue;
    throw SharedError("--device=cuda: ranks " + std::to_string(entry->second) + " and " + std::to_string(r) +
                      " share the GPU " + by_rank[r].pci_bus_id + ": start one rank per GPU");
  }
}

}  // namespace cfm::parallel
