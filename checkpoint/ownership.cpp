#include "checkpoint/ownership.h"

namespace cfm::checkpoint {

void refuse_unless_held(Lease::State state, const std::filesystem::path& run_dir, const std::string& undone) {
  const std::string run = "the run in " + run_dir.string();
  switch (state) {
    case Lease::State::kHeld:
      return;
    case Lease::State::kAnothers:
      throw RunMustEnd(run + " has been taken over by another job: " + undone + ", and this job ends");
    case Lease::State::kGone:
      throw RunMustEnd(run + " has lost its file trainer.lease, without which another job may train it as well: " +
                           undone + ", and this job ends. The same command takes it again and continues",
                       ExitCode::kRetry);
    case Lease::State::kUnseen:
      throw Error(
          "the file trainer.lease of " + run + " cannot be read for now, so neither whose the run is: " + undone,
          ExitCode::kRetry);
  }
}

}  // namespace cfm::checkpoint
