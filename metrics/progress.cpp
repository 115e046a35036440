#include "metrics/progress.h"

#include <array>
#include <cmath>
#include <cstdarg>
#include <cstdio>

#include "base/log.h"

namespace cfm::metrics {
namespace {

[[gnu::format(printf, 1, 2)]] std::string format(const char* pattern, ...) {
  std::array<char, 64> text{};
  va_list arguments;
  va_start(arguments, pattern);
  std::vsnprintf(text.data(), text.size(), pattern, arguments);
  va_end(arguments);
  return text.data();
}

// 1234567 to "1,234,567"; below 10 with one decimal.
std::string with_separators(double number) {
  if (!std::isfinite(number)) return "-";
  if (std::abs(number) < 9.95) return format("%.1f", number);
  std::string digits = format("%.0f", number);
  const size_t sign = digits[0] == '-' ? 1 : 0;
  for (size_t at = digits.size(); at > sign + 3;) digits.insert(at -= 3, ",");
  return digits;
}

}  // namespace

std::string progress_text(const ProgressNumbers& n) {
  const std::string steps = std::to_string(n.steps);
  const double percent = n.steps > 0 ? 100.0 * static_cast<double>(n.step) / static_cast<double>(n.steps) : 0;
  return format("step  %*lld/", static_cast<int>(steps.size()), static_cast<long long>(n.step)) + steps +
         format("  %4.1f %%", percent) + format("  loss %.4f", n.loss) + format("  grad %.2f", n.gradient_norm) +
         format("  lr %.1e", n.learning_rate) + "  " + with_separators(n.images_per_second) + " img/s" +
         format("  data wait %.1f %%", 100 * n.data_wait_share) + "  ETA " + duration_text(n.eta_seconds);
}

std::string duration_text(double seconds) {
  constexpr double kThousandYears = 3.2e10;
  if (!(seconds >= 0 && seconds < kThousandYears)) return "--:--:--";
  const auto all = static_cast<long long>(std::llround(seconds));
  const std::string clock = format("%02lld:%02lld:%02lld", all / 3600 % 24, all / 60 % 60, all % 60);
  return all < 86400 ? clock : std::to_string(all / 86400) + "d " + clock;
}

void ProgressLine::show(const ProgressNumbers& numbers, bool plain_too) {
  if (!enabled_) return;
  if (line_.live()) return line_.show(progress_text(numbers));
  if (plain_too) say(progress_text(numbers));
}

}  // namespace cfm::metrics
