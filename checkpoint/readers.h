#pragma once
// RUN/readers: who reads a run's checkpoints, so that its trainer does not delete them before. docs/formats.md.
//
// Holding and deleting exclude each other. A job makes its hold, then looks whether a deletion is announced, and
// whether the checkpoint is there; the trainer announces that it deletes, then looks for holds.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "base/lease.h"

namespace cfm::checkpoint {

// A job's hold on one checkpoint: given up with this, or with the job's life.
class Hold {
 public:
  // Error(kRetry) if RUN/readers cannot be written.
  Hold(const std::filesystem::path& run_dir, int64_t step, LeaseTimes times = {});
  // Whether the checkpoint is there, and then stays as long as this. Nothing while checkpoints are being deleted: to be
  // asked again. Error(kRetry) if that cannot be told for now.
  std::optional<bool> keeps();

 private:
  const std::filesystem::path run_dir_;
  const int64_t step_;
  const std::unique_ptr<Lease> lease_;
  LeaseSeeker deletion_;
};

// Nothing, which is said, where RUN/readers cannot be written: the trainer may then delete what the job is at.
std::unique_ptr<Hold> hold_or_warn(const std::filesystem::path& run_dir, int64_t step, LeaseTimes times = {});

struct HeldStep {
  int64_t step = 0;
  std::unique_ptr<Hold> hold;  // of hold_or_warn
};
// The checkpoint that `choose` names, held for as long as it is read; waits while checkpoints are being deleted, and
// calls `waits` between looks, which may throw. One that is deleted in between is chosen anew: `choose` then names
// another, or throws.
HeldStep hold_chosen(
    const std::filesystem::path& run_dir, const std::function<int64_t()>& choose, LeaseTimes times = {},
    const std::function<void()>& waits = [] {});

// A job that is to evaluate every checkpoint of a run. Those of the same task share the work. The last one of a task to
// end clears away what the task has written.
class Follower {
 public:
  // Error(kRetry) if RUN/readers cannot be written.
  Follower(const std::filesystem::path& run_dir, const std::string& task, LeaseTimes times = {});
  ~Follower();
  Follower(const Follower&) = delete;
  Follower& operator=(const Follower&) = delete;
  bool counts() const { return lease_->held(); }  // false: it was taken for dead
  // The task needs this checkpoint no more: it is evaluated, or given up. Error(kRetry) if that cannot be written.
  void settle(int64_t step) const;
  bool is_settled(int64_t step) const;  // by any job of the task

 private:
  const std::filesystem::path folder_;
  std::unique_ptr<Lease> lease_;
};

// What the trainer sees of them.
class Readers {
 public:
  Readers(const std::filesystem::path& run_dir, LeaseTimes times);
  // Looks anew. What belongs to jobs that show no life counts for nothing, and is cleared away.
  void look();
  // As of the last look: whether a job holds the checkpoint; whether one that follows the run has not settled it.
  bool hold(int64_t step) const { return held_.contains(step); }
  bool await(int64_t step) const;

 private:
  bool lives(const std::filesystem::path& lease);
  void look_at_task(const std::filesystem::path& folder);
  const std::filesystem::path folder_;
  const LeaseTimes times_;
  std::map<std::filesystem::path, LeaseSeeker> seekers_;  // what has been seen of each lease
  std::set<int64_t> held_;
  std::map<std::string, std::set<int64_t>> settled_;  // by each task that has a job
};

// Held by the trainer while it chooses and renames what it deletes.
std::filesystem::path deletion_lease(const std::filesystem::path& run_dir);

}  // namespace cfm::checkpoint
