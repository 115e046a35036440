#include "metrics/result_numbers.h"

#include <nlohmann/json.hpp>
#include <optional>

namespace cfm::metrics {

using Json = nlohmann::json;

namespace {

// Over those that have it; nothing if none has.
std::optional<double> mean_over_repeats(const Json& result, const char* name) {
  double sum = 0;
  int count = 0;
  for (const Json& repeat : result.value("repeats", Json::array())) {
    if (!repeat.is_object() || !repeat.contains(name) || !repeat.at(name).is_number()) continue;
    sum += repeat.at(name).get<double>();
    ++count;
  }
  if (count == 0) return std::nullopt;
  return sum / count;
}

}  // namespace

std::vector<std::pair<std::string, double>> result_numbers(const std::string& json) {
  const Json result = Json::parse(json, nullptr, /*allow_exceptions=*/false);
  if (!result.is_object() || !result.contains("metric")) return {};
  const Json& metric = result.at("metric");
  std::vector<std::pair<std::string, double>> numbers;
  const auto add = [&](const std::string& name, const std::string& pointer) {
    const Json::json_pointer at(pointer);
    if (result.contains(at) && result.at(at).is_number()) numbers.emplace_back(name, result.at(at).get<double>());
  };
  if (metric == "nll") {
    add("nll_bits_per_dim", "/bits_per_dim");
    add("nll_nfe", "/nfe/mean");
  }
  if (metric == "fid") {
    for (const std::string name : {"fid", "sfid", "is_10_splits", "is_splits_of_5000", "kid", "precision", "recall"})
      add(name, "/" + name + "/mean");
    if (const std::optional<double> nfe = mean_over_repeats(result, "nfe")) numbers.emplace_back("fid_nfe", *nfe);
  }
  return numbers;
}

}  // namespace cfm::metrics
