#include "checkpoint/retention.h"

#include <algorithm>
#include <cerrno>
#include <string>
#include <system_error>
#include <utility>

#include "base/failpoint.h"
#include "base/log.h"
#include "base/no_room.h"
#include "checkpoint/unfinished.h"

namespace cfm::checkpoint {

namespace fs = std::filesystem;

Retention::Retention(const StoreConfig& config)
    : config_(config),
      readers_(config.run_dir, config.reader_times),
      deletion_(deletion_lease(config.run_dir), config.reader_times) {}

std::vector<int64_t> Retention::old_ones() const {
  if (config_.keep_last == 0) return {};
  std::vector<int64_t> steps = committed_steps(config_.run_dir);
  steps.resize(steps.size() - std::min(steps.size(), static_cast<size_t>(config_.keep_last)));
  std::erase_if(steps, [&](int64_t step) { return config_.keep_every > 0 && step % config_.keep_every == 0; });
  return steps;
}

void Retention::leave_what_is_wanted(std::vector<int64_t>& steps) {
  readers_.look();
  int64_t unevaluated = 0;
  std::ranges::reverse(steps);
  std::erase_if(steps, [&](int64_t step) {
    if (readers_.hold(step)) return true;
    return readers_.await(step) && unevaluated++ < config_.keep_unevaluated;
  });
  std::ranges::reverse(steps);
}

// Nothing where another's announcement stands: of a trainer of another machine that was killed; the next save sees its
// end. An empty one where the disk has no room for it: that is no reason to keep what fills it.
std::optional<std::unique_ptr<Lease>> Retention::announce() try {
  const fs::path folder = deletion_lease(config_.run_dir).parent_path();
  std::error_code error;
  fs::create_directories(folder, error);
  const std::string problem = "cannot make " + folder.string() + ": " + error.message();
  if (error.value() == ENOSPC || error.value() == EDQUOT) throw NoRoom(problem);
  if (error) throw Error(problem, ExitCode::kRetry);
  std::unique_ptr<Lease> announced = deletion_.try_take();
  if (!announced) return std::nullopt;
  return announced;
} catch (const NoRoom& e) {
  warn(std::string("old checkpoints are deleted unannounced, to make room: ") + e.what());
  return std::unique_ptr<Lease>();
}

// Announced first: who makes a hold from now on waits for the end of this, and sees what is left.
std::vector<fs::path> Retention::rename_old_ones() {
  std::vector<fs::path> renamed;
  std::vector<int64_t> steps = old_ones();
  if (steps.empty() || config_.ownership() != Lease::State::kHeld) return renamed;
  const auto announced = announce();
  if (!announced) return renamed;
  leave_what_is_wanted(steps);
  for (const int64_t step : steps) {
    if (config_.ownership() != Lease::State::kHeld) break;
    const fs::path folder = checkpoints_folder(config_.run_dir) / step_name(step);
    const fs::path leaving = folder.string() + kDeleted;
    try {
      failpoint("rename", leaving);
      fs::rename(folder, leaving);
      renamed.push_back(leaving);
    } catch (const std::exception& e) {
      undeleted_.push_back("the old checkpoint " + step_name(step) + " is not deleted: " + e.what());
    }
  }
  return renamed;
}

void Retention::remove(const fs::path& leaving) {
  try {
    failpoint("remove", leaving);
    fs::remove_all(leaving);
  } catch (const std::exception& e) {
    undeleted_.push_back(leaving.string() + ", an old checkpoint, is not removed: " + e.what());
  }
}

Problems Retention::apply() {
  undeleted_.clear();
  try {
    for (const fs::path& leaving : rename_old_ones()) remove(leaving);
  } catch (const std::exception& e) {
    undeleted_.push_back(std::string("old checkpoints are not deleted: ") + e.what());
  }
  return std::exchange(undeleted_, {});
}

}  // namespace cfm::checkpoint
