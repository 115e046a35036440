#include "evaluator/nll_progress.h"

#include <algorithm>
#include <cstdio>

#include "base/log.h"
#include "evaluator/nll_text.h"
#include "metrics/progress.h"

namespace cfm::evaluator {

NllProgress::NllProgress(bool enabled, const NllPlan& plan, int64_t kept, EvaluationMetrics& metrics)
    : enabled_(enabled), plan_(plan), kept_(kept), metrics_(metrics), start_(Clock::now()), next_(start_ + interval()) {
  metrics_.progress(kept_ / plan_.likelihood.repeats);
}

std::chrono::seconds NllProgress::interval() const { return std::chrono::seconds(line_.live() ? 2 : 10); }

std::string NllProgress::text(Clock::time_point now) {
  const DrawRecords records = read_records(plan_.file.parts(), plan_.key).records;
  const flow::LikelihoodConfig& likelihood = plan_.likelihood;
  const std::vector<ImageNll> images = images_of(records, likelihood.repeats, plan_.dimensions);
  if (images.empty()) return {};
  const NllSummary summary = summary_of(images, records);
  const auto done = static_cast<int64_t>(records.size());
  metrics_.progress(summary.images);
  const double seconds = std::chrono::duration<double>(now - start_).count();
  const double rate = static_cast<double>(done - kept_) / seconds;  // draws
  char text[200];
  std::snprintf(text, sizeof text, "likelihood   %lld/%lld images  %s  NFE %.0f  %.2f images/s  ETA %s",
                static_cast<long long>(summary.images), static_cast<long long>(plan_.count),
                bits_text(summary.all_draws).c_str(), summary.nfe_mean, rate / static_cast<double>(likelihood.repeats),
                metrics::duration_text(static_cast<double>(plan_.draws() - done) / rate).c_str());
  return text;
}

void NllProgress::look() {
  const Clock::time_point now = Clock::now();
  if (!enabled_ || now < next_) return;
  const std::string line = text(now);
  // All records are read: at most a twentieth of the time goes into that, however many there are.
  next_ = now + std::max<Clock::duration>(interval(), 20 * (Clock::now() - now));
  if (line.empty()) return;
  if (line_.live()) return line_.show(line);
  say(line);
}

}  // namespace cfm::evaluator
