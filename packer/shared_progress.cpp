#include "packer/shared_progress.h"

namespace cfm::packer {

SharedProgress::SharedProgress(const parallel::MpiSession& session, int64_t images)
    : ranks_(session.size()), control_(session) {
  if (session.rank() == 0) shown_.emplace(images);
  post();
}

void SharedProgress::post() { control_.post({.sums = {mine_, finished_ ? 1.0 : 0.0, failed_ ? 1.0 : 0.0}}); }

void SharedProgress::take(const parallel::StepSummary& summary) {
  if (shown_) shown_->add(static_cast<int64_t>(summary.sums[0] - seen_));
  seen_ = summary.sums[0];
  all_finished_ = summary.sums[1] == ranks_;
  any_failed_ = summary.sums[2] > 0;
}

// All ranks take part in the same exchanges, one after another, until one says that all have finished.
void SharedProgress::add(int64_t images) {
  mine_ += static_cast<double>(images);
  if (!control_.ready()) return;
  take(control_.collect());
  post();
  if (any_failed_) throw AnotherRankFailed();
}

void SharedProgress::finish(bool failed) {
  finished_ = true;
  failed_ = failed;
  while (true) {
    take(control_.collect());
    if (all_finished_) return shown_.reset();
    post();
  }
}

}  // namespace cfm::packer
