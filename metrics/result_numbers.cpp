#include "metrics/result_numbers.h"

#include <nlohmann/json.hpp>

namespace cfm::metrics {

using Json = nlohmann::json;

std::vector<std::pair<std::string, double>> result_numbers(const std::string& json) {
  const Json result = Json::parse(json, nullptr, /*allow_exceptions=*/false);
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

}  // namespace cfm::metrics
