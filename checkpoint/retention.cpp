#include "checkpoint/retention.h"

#include <algorithm>
#include <system_error>

#include "base/failpoint.h"
#include "base/log.h"
#include "checkpoint/unfinished.h"

namespace cfm::checkpoint {
namespace {

namespace fs = std::filesystem;

void remove_checkpoint(const fs::path& folder) {
  const fs::path leaving = folder.string() + kDeleted;
  failpoint("rename", leaving);
  fs::rename(folder, leaving);
  failpoint("remove", leaving);
  fs::remove_all(leaving);
}

}  // namespace

void retain(const StoreConfig& config) try {
  if (config.keep_last == 0) return;
  std::vector<int64_t> steps = committed_steps(config.run_dir);
  steps.resize(steps.size() - std::min(steps.size(), static_cast<size_t>(config.keep_last)));
  for (const int64_t step : steps) {
    if (config.keep_every > 0 && step % config.keep_every == 0) continue;
    if (!config.still_owned()) return;
    try {
      remove_checkpoint(checkpoints_folder(config.run_dir) / step_name(step));
    } catch (const std::exception& e) {
      warn("the old checkpoint " + step_name(step) + " is not deleted: " + e.what());
    }
  }
} catch (const std::exception& e) {
  warn(std::string("old checkpoints are not deleted: ") + e.what());  // the save itself is done
}

}  // namespace cfm::checkpoint
