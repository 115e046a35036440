#pragma once
#include <string>
#include <utility>
#include <vector>

namespace cfm::metrics {

// The numbers of a result file (docs/formats.md) that are series, by their `metric`: nll_bits_per_dim, nll_nfe; fid,
// sfid, is_10_splits, is_splits_of_5000, kid, precision, recall, fid_nfe, means over the repeats, those of them that
// were measured. Nothing if `json` is no result that has any.
std::vector<std::pair<std::string, double>> result_numbers(const std::string& json);

}  // namespace cfm::metrics
