#pragma once
#include <string>
#include <utility>
#include <vector>

namespace cfm::metrics {

// The numbers of a result file (docs/formats.md) that are series, by their `metric`: nll_bits_per_dim, nll_nfe, fid,
// fid_nfe. Nothing if `json` is no result that has any.
std::vector<std::pair<std::string, double>> result_numbers(const std::string& json);

}  // namespace cfm::metrics
