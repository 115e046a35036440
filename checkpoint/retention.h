#pragma once
#include <cstdint>
#include <filesystem>
#include <vector>

#include "base/lease.h"
#include "checkpoint/readers.h"
#include "checkpoint/store.h"

namespace cfm::checkpoint {

// Deletes old checkpoints behind a save. Kept are the newest --keep_last (0: all), the multiples of --keep_every, those
// that a job holds, and of those that a job has yet to evaluate the newest --keep_unevaluated.
class Retention {
 public:
  explicit Retention(const StoreConfig& config);  // which must outlive it
  // Each goes by a rename to a name that is never loaded, then its removal. Nothing if the run is another's now; what
  // cannot be deleted is said.
  void apply();

 private:
  std::vector<int64_t> old_ones() const;                   // ascending
  void leave_what_is_wanted(std::vector<int64_t>& steps);  // out of the list
  std::vector<std::filesystem::path> rename_old_ones();
  const StoreConfig& config_;
  Readers readers_;
  LeaseSeeker deletion_;
};

}  // namespace cfm::checkpoint
