#pragma once
#include <cstdint>
#include <optional>

#include "packer/progress.h"
#include "parallel/mpi_session.h"
#include "parallel/step_control.h"

namespace cfm::packer {

// What add() throws when another rank has failed: there is no more to do here, and that rank says why.
struct AnotherRankFailed {};

// How far all ranks are, shown by rank 0. Every rank counts its own images; the counts are summed in the background, so
// what is shown is what each had done when it last looked: exact, and late by what the slowest does between two looks
// (an image, or writing a block of them). Nobody waits for it.
class SharedProgress {
 public:
  // `images`: of all ranks. Collective.
  SharedProgress(const parallel::MpiSession& session, int64_t images);
  // This rank has dealt with further images. Throws AnotherRankFailed.
  void add(int64_t images);
  // Waits for all ranks to be done, showing what they do meanwhile; `failed`: this one will not be, and the others need
  // not go on. Collective, once.
  void finish(bool failed);

 private:
  void take(const parallel::StepSummary& summary);
  void post();

  const int ranks_;
  parallel::StepControl control_;
  std::optional<Progress> shown_;  // on rank 0
  double mine_ = 0, seen_ = 0;
  bool finished_ = false, failed_ = false;  // this rank
  bool all_finished_ = false, any_failed_ = false;
};

}  // namespace cfm::packer
