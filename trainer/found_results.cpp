#include "trainer/found_results.h"

#include <chrono>
#include <utility>
#include <vector>

#include "base/durable_file.h"
#include "base/error.h"
#include "metrics/result_numbers.h"

namespace cfm::trainer {
namespace {

namespace fs = std::filesystem;

std::string text_or_nothing(const fs::path& file) {
  try {
    return read_file(file);
  } catch (const Error&) {
    return {};
  }
}

double written(const fs::path& file) {
  std::error_code error;
  const auto time = fs::last_write_time(file, error);
  if (error) return 0;
  return std::chrono::duration<double>(std::chrono::file_clock::to_sys(time).time_since_epoch()).count();
}

}  // namespace

void FoundResults::look(metrics::Series& series) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder_, error)) {
    if (entry.path().extension() != ".json" || !seen_.insert(entry.path().filename().string()).second) continue;
    // nll-step_000012000-<tag>
    const std::string name = entry.path().stem().string();
    const size_t step = name.find("-step_"), tag = name.find('-', step + 1);
    if (step == std::string::npos || tag == std::string::npos) continue;
    std::string digits = name.substr(step + 6, tag - step - 6);
    digits.erase(0, std::min(digits.find_first_not_of('0'), digits.size() - 1));
    for (const auto& [metric, value] : metrics::result_numbers(text_or_nothing(entry.path()))) {
      if (++of_metric_[metric] > kMost) continue;
      series.set("cfm_result", value, {metric, digits, name.substr(tag + 1)});
      newest_ = std::max(newest_, written(entry.path()));
    }
  }
  if (newest_ > 0) series.set("cfm_result_time_seconds", newest_);
}

}  // namespace cfm::trainer
