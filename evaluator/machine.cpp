#include "evaluator/machine.h"

#include <ATen/Version.h>

#include <set>
#include <vector>

namespace cfm::evaluator {

Machine this_machine(const parallel::MpiSession& session, c10::Device device, int threads) {
  Machine machine{session.size(), threads, device.str(), session.host(), ""};
  const std::vector<std::string> all = session.control().all_gather(at::get_cpu_capability());
  for (const std::string& capability : std::set<std::string>(all.begin(), all.end()))
    machine.cpu_capability += (machine.cpu_capability.empty() ? "" : ", ") + capability;
  return machine;
}

Json to_json(const Machine& machine) {
  return {{"ranks", machine.ranks},
          {"device", machine.device},
          {"threads_a_rank", machine.threads},
          {"host", machine.host},
          {"cpu_capability", machine.cpu_capability}};
}

}  // namespace cfm::evaluator
