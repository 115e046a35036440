#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace cfm::flow {

// The permutation p of 0..n-1 that makes the sum of cost[i * n + p[i]] least: exact. cost: n x n, finite. Time n^3 at
// worst, memory n. Column reduction, row augmentation, then shortest augmenting paths. [Jonker, Volgenant, A shortest
// augmenting path algorithm for dense and sparse linear assignment problems, Computing 38 (1987)]
std::vector<int64_t> assign(std::span<const double> cost, int64_t n);

}  // namespace cfm::flow
