#pragma once
// A run is changed only by the job that holds its lease.

#include <filesystem>
#include <string>

#include "base/error.h"
#include "base/lease.h"

namespace cfm::checkpoint {

// Why a run must not go on: it is another's now (kWontWork); its lease is gone, or its ranks no longer hold the same
// state (kRetry).
class RunMustEnd : public SharedError {
 public:
  using SharedError::SharedError;
};

// Throws unless `state` is kHeld: RunMustEnd, or Error(kRetry) where the lease cannot be seen for now. `undone`: what
// is therefore not done, "step 200 is not saved".
void refuse_unless_held(Lease::State state, const std::filesystem::path& run_dir, const std::string& undone);

}  // namespace cfm::checkpoint
