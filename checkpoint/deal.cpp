#include "checkpoint/deal.h"

#include <algorithm>
#include <numeric>

namespace cfm::checkpoint {

std::vector<int> deal_files(const std::vector<int64_t>& bytes, int ranks) {
  std::vector<size_t> largest_first(bytes.size());
  std::iota(largest_first.begin(), largest_first.end(), size_t{0});
  std::ranges::stable_sort(largest_first, std::greater<>(), [&](size_t file) { return bytes[file]; });
  const int writers = std::min(kMostWriters, ranks);
  std::vector<int64_t> load(static_cast<size_t>(writers), 0);
  std::vector<int> rank_by_file(bytes.size());
  for (const size_t file : largest_first) {
    const auto least = std::ranges::min_element(load);
    *least += bytes[file];
    const auto writer = static_cast<int64_t>(least - load.begin());
    rank_by_file[file] = static_cast<int>(writer * ranks / writers);
  }
  return rank_by_file;
}

}  // namespace cfm::checkpoint
