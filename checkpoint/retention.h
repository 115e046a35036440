#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <vector>

#include "base/error.h"
#include "base/lease.h"
#include "checkpoint/readers.h"
#include "checkpoint/store.h"

namespace cfm::checkpoint {

// Deletes old checkpoints behind a save. Kept are the newest --keep_last (0: all), the multiples of --keep_every, those
// that a job holds, and of those that a job has yet to evaluate the newest --keep_unevaluated.
class Retention {
 public:
  explicit Retention(const StoreConfig& config);  // which must outlive it
  // Each goes by a rename to a name that is never loaded, then its removal. Nothing if the run is another's now, or if
  // another's deletion seems to be under way. The deletion is announced to those who read (checkpoint/readers.h): where
  // it cannot be, nothing is deleted, unless the reason is that the disk has no room, which a deletion makes. Returns
  // what could not be deleted, and why: to be said and counted. Never throws: the save itself is done.
  Problems apply();

 private:
  std::vector<int64_t> old_ones() const;                   // ascending
  void leave_what_is_wanted(std::vector<int64_t>& steps);  // out of the list
  std::optional<std::unique_ptr<Lease>> announce();
  std::vector<std::filesystem::path> rename_old_ones();
  void remove(const std::filesystem::path& leaving);
  const StoreConfig& config_;
  Readers readers_;
  LeaseSeeker deletion_;
  Problems undeleted_;
};

}  // namespace cfm::checkpoint
