#pragma once
#include <cstdint>
#include <vector>

namespace cfm::checkpoint {

inline constexpr int kMostWriters = 4;

// The rank that writes each file: the largest first, each to the writer that has the fewest bytes so far. Writers are
// rank 0 and up to three more, evenly spaced over the ranks, so on several nodes where there are any.
std::vector<int> deal_files(const std::vector<int64_t>& bytes, int ranks);

}  // namespace cfm::checkpoint
