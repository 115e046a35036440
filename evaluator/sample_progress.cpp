#include "evaluator/sample_progress.h"

#include <unistd.h>

#include <cstdio>

#include "base/log.h"
#include "metrics/progress.h"

namespace cfm::evaluator {

SampleProgress::SampleProgress(bool enabled, int64_t images)
    : enabled_(enabled),
      terminal_(::isatty(STDOUT_FILENO) == 1),
      images_(images),
      start_(Clock::now()),
      last_(start_) {}

SampleProgress::~SampleProgress() {
  if (!live_) return;
  std::fputc('\n', stdout);
  std::fflush(stdout);
}

void SampleProgress::done(int64_t images) {
  const Clock::time_point now = Clock::now();
  constexpr std::chrono::seconds kPlainInterval{10};
  if (!enabled_ || images == 0 || (!terminal_ && now - last_ < kPlainInterval)) return;
  last_ = now;
  const double seconds = std::chrono::duration<double>(now - start_).count();
  const double rate = static_cast<double>(images) / seconds;
  char text[160];
  std::snprintf(text, sizeof text, "sampling     %lld/%lld images of rank 0  %.2f images/s  ETA %s",
                static_cast<long long>(images), static_cast<long long>(images_), rate,
                metrics::duration_text(static_cast<double>(images_ - images) / rate).c_str());
  if (!terminal_) return say(text);
  std::printf("\r%s\033[K", text);
  std::fflush(stdout);
  live_ = true;
}

}  // namespace cfm::evaluator
