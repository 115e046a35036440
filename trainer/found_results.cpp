#include "trainer/found_results.h"

#include <chrono>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "base/durable_file.h"
#include "base/error.h"

namespace cfm::trainer {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

// The file's numbers by the metric's name; nothing if it is no result that has any.
std::vector<std::pair<std::string, double>> numbers_in(const Json& result) {
  if (!result.is_object()) return {};
  std::vector<std::pair<std::string, double>> numbers;
  const auto add = [&](const char* name, const char* pointer) {
    const Json::json_pointer at(pointer);
    if (result.contains(at) && result.at(at).is_number()) numbers.emplace_back(name, result.at(at).get<double>());
  };
  if (result.value("metric", "") == "nll") {
    add("nll_bits_per_dim", "/bits_per_dim");
    add("nll_nfe", "/nfe/mean");
  }
  if (result.value("metric", "") == "fid") {
    add("fid", "/fid/mean");
    add("fid_nfe", "/repeats/0/nfe");
  }
  return numbers;
}

Json json_or_nothing(const fs::path& file) {
  try {
    return Json::parse(read_file(file), nullptr, /*allow_exceptions=*/false);
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
    for (const auto& [metric, value] : numbers_in(json_or_nothing(entry.path()))) {
      if (++of_metric_[metric] > kMost) continue;
      series.set("cfm_result", value, {metric, digits, name.substr(tag + 1)});
      newest_ = std::max(newest_, written(entry.path()));
    }
  }
  if (newest_ > 0) series.set("cfm_result_time_seconds", newest_);
}

}  // namespace cfm::trainer
