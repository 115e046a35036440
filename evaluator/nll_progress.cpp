#include "evaluator/nll_progress.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <exception>
#include <vector>

#include "base/log.h"
#include "evaluator/nll_text.h"
#include "metrics/progress.h"

namespace cfm::evaluator {
namespace {

// `draws_per_second`: of all ranks.
std::string progress_text(const NllPlan& plan, const DrawRecords& records, const NllSummary& summary,
                          double draws_per_second) {
  const auto missing = static_cast<double>(plan.draws() - static_cast<int64_t>(records.size()));
  std::array<char, 200> text{};
  std::snprintf(text.data(), text.size(), "%-12s %lld/%lld images  %s  NFE %.0f  %.2f images/s  ETA %s",
                plan.name.c_str(), static_cast<long long>(summary.images), static_cast<long long>(plan.count),
                bits_text(summary.all_draws).c_str(), summary.nfe_mean,
                draws_per_second / static_cast<double>(plan.likelihood.repeats),
                metrics::duration_text(missing / draws_per_second).c_str());
  return text.data();
}

}  // namespace

NllProgress::NllProgress(bool enabled, const NllPlan& plan, int64_t kept, EvaluationMetrics* metrics)
    : enabled_(enabled), plan_(plan), kept_(kept), metrics_(metrics) {
  if (metrics_ != nullptr) metrics_->progress(kept_ / plan_.likelihood.repeats);
  if (enabled_) thread_ = std::thread([this] { look_until_ended(); });
}

NllProgress::~NllProgress() { end_looking(); }

void NllProgress::end_looking() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void NllProgress::look_until_ended() {
  std::unique_lock lock(mutex_);
  Clock::duration pause = interval();
  while (!wake_.wait_for(lock, pause, [this] { return ending_; })) {
    lock.unlock();
    const Clock::time_point looked = Clock::now();
    try {
      show(read_records(plan_.parts, plan_.key).records);
    } catch (const std::exception&) {  // what cannot be read now is left out: the draws are kept all the same
    }
    // All records are read: at most a twentieth of the time goes into that, however many there are.
    pause = std::max<Clock::duration>(interval(), 20 * (Clock::now() - looked));
    lock.lock();
  }
}

void NllProgress::show(const DrawRecords& records) {
  const std::vector<ImageNll> images = images_of(records, plan_.likelihood.repeats, plan_.dimensions);
  const int64_t added = static_cast<int64_t>(records.size()) - kept_;
  if (images.empty() || added <= 0) return;
  const NllSummary summary = summary_of(images, records);
  if (metrics_ != nullptr) metrics_->progress(summary.images);
  const double seconds = std::chrono::duration<double>(Clock::now() - start_).count();
  const std::string line = progress_text(plan_, records, summary, static_cast<double>(added) / seconds);
  if (line_.live()) return line_.show(line);
  say(line);
}

void NllProgress::finish(const DrawRecords& records) {
  if (!enabled_) return;
  end_looking();
  show(records);
  line_.end();
}

}  // namespace cfm::evaluator
