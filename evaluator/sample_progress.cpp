#include "evaluator/sample_progress.h"

#include <cstdio>
#include <utility>

#include "base/log.h"
#include "metrics/progress.h"

namespace cfm::evaluator {

SampleProgress::SampleProgress(bool enabled, int64_t images, std::string verb)
    : enabled_(enabled), images_(images), verb_(std::move(verb)), start_(Clock::now()), last_(start_) {}

void SampleProgress::done(int64_t images) {
  const Clock::time_point now = Clock::now();
  constexpr std::chrono::seconds kPlainInterval{10};
  if (!enabled_ || images == 0 || (!line_.live() && now - last_ < kPlainInterval)) return;
  last_ = now;
  const double seconds = std::chrono::duration<double>(now - start_).count();
  const double rate = static_cast<double>(images) / seconds;
  char text[160];
  std::snprintf(text, sizeof text, "%-12s %lld/%lld images of rank 0  %.2f images/s  ETA %s", verb_.c_str(),
                static_cast<long long>(images), static_cast<long long>(images_), rate,
                metrics::duration_text(static_cast<double>(images_ - images) / rate).c_str());
  if (line_.live()) return line_.show(text);
  say(text);
}

}  // namespace cfm::evaluator
