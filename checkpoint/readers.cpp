#include "checkpoint/readers.h"

#include <algorithm>
#include <chrono>
#include <fstream>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "checkpoint/store.h"

namespace cfm::checkpoint {
namespace {

namespace fs = std::filesystem;

constexpr const char* kLease = ".lease";

fs::path readers_folder(const fs::path& run_dir) { return run_dir / "readers"; }

std::vector<fs::path> entries_of(const fs::path& folder) {
  std::vector<fs::path> entries;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error))
    entries.push_back(entry->path());
  if (error && error != std::errc::no_such_file_or_directory)
    throw Error("cannot list " + folder.string() + ": " + error.message(), ExitCode::kRetry);
  return entries;
}

// In a folder that may be cleared away meanwhile.
std::unique_ptr<Lease> lease_in(const fs::path& folder, const std::string& prefix, LeaseTimes times) {
  for (int attempt = 1;; ++attempt) {
    std::error_code error;
    fs::create_directories(folder, error);
    if (error) throw Error("cannot make " + folder.string() + ": " + error.message(), ExitCode::kRetry);
    try {
      return new_lease(folder, prefix, times);
    } catch (const Error&) {
      if (attempt == 3 || fs::exists(folder, error)) throw;
    }
  }
}

// Unless a job has just come: its lease keeps the folder.
void clear_away(const fs::path& task) {
  for (const fs::path& entry : entries_of(task)) {
    if (step_of(entry.filename()) < 0) continue;
    std::error_code error;
    fs::remove(entry, error);
  }
  std::error_code error;
  fs::remove(task, error);
}

}  // namespace

fs::path deletion_lease(const fs::path& run_dir) { return readers_folder(run_dir) / "deletion.lease"; }

Hold::Hold(const fs::path& run_dir, int64_t step, LeaseTimes times)
    : run_dir_(run_dir),
      step_(step),
      lease_(lease_in(readers_folder(run_dir), step_name(step) + ".", times)),
      deletion_(deletion_lease(run_dir)) {}

std::optional<bool> Hold::keeps() {
  if (deletion_.is_held()) return std::nullopt;
  return lease_->held() && is_committed(run_dir_, step_);
}

std::unique_ptr<Hold> hold_or_warn(const fs::path& run_dir, int64_t step, LeaseTimes times) {
  try {
    return std::make_unique<Hold>(run_dir, step, times);
  } catch (const Error& e) {
    warn(step_name(step) + " is read without a hold, and may be deleted before its end: " + e.what());
    return nullptr;
  }
}

HeldStep hold_chosen(const fs::path& run_dir, const std::function<int64_t()>& choose, LeaseTimes times,
                     const std::function<void()>& waits) {
  constexpr std::chrono::milliseconds kBetweenLooks{100};
  for (;;) {
    const int64_t step = choose();
    std::unique_ptr<Hold> hold = hold_or_warn(run_dir, step, times);
    if (!hold) return {step, nullptr};
    std::optional<bool> keeps = hold->keeps();
    for (; !keeps; keeps = hold->keeps()) {
      waits();
      std::this_thread::sleep_for(kBetweenLooks);
    }
    if (*keeps) return {step, std::move(hold)};
  }
}

Follower::Follower(const fs::path& run_dir, const std::string& task, LeaseTimes times)
    : folder_(readers_folder(run_dir) / task), lease_(lease_in(folder_, "", times)) {}

Follower::~Follower() {
  lease_.reset();
  try {
    if (std::ranges::none_of(entries_of(folder_), [](const fs::path& entry) { return entry.extension() == kLease; }))
      clear_away(folder_);
  } catch (const std::exception&) {  // left to the trainer
  }
}

void Follower::settle(int64_t step) const {
  const fs::path mark = folder_ / step_name(step);
  if (!std::ofstream(mark).is_open()) throw Error("cannot create " + mark.string(), ExitCode::kRetry);
}

bool Follower::is_settled(int64_t step) const {
  std::error_code error;
  return fs::exists(folder_ / step_name(step), error);
}

Readers::Readers(const fs::path& run_dir, LeaseTimes times) : folder_(readers_folder(run_dir)), times_(times) {}

bool Readers::lives(const fs::path& lease) {
  LeaseSeeker& seeker = seekers_.try_emplace(lease, lease, times_).first->second;
  if (seeker.is_held()) return true;
  try {
    seeker.try_take();      // and given back at once: it is gone
  } catch (const Error&) {  // a full disk: it counts for nothing all the same
  }
  return false;
}

void Readers::look_at_task(const fs::path& folder) {
  bool followed = false;
  std::set<int64_t> settled;
  for (const fs::path& entry : entries_of(folder)) {
    if (entry.extension() == kLease) followed = lives(entry) || followed;
    if (const int64_t step = step_of(entry.filename()); step >= 0) settled.insert(step);
  }
  if (followed) {
    settled_[folder.filename()] = settled;
  } else {
    clear_away(folder);
  }
}

void Readers::look() {
  held_.clear();
  settled_.clear();
  for (const fs::path& entry : entries_of(folder_)) {
    std::error_code error;
    if (fs::is_directory(entry, error)) {
      look_at_task(entry);
    } else if (entry.extension() == kLease) {
      const int64_t step = step_of(entry.stem().stem());
      if (step >= 0 && lives(entry)) held_.insert(step);
    }
  }
  std::erase_if(seekers_, [](const auto& known) {
    std::error_code error;
    return !fs::exists(known.first, error);
  });
}

bool Readers::await(int64_t step) const {
  return std::ranges::any_of(settled_, [&](const auto& task) { return !task.second.contains(step); });
}

}  // namespace cfm::checkpoint
