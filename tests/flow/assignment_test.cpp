#include "flow/assignment.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <random>

namespace cfm::flow {
namespace {

using Matrix = std::vector<double>;

Matrix random_costs(int64_t n, unsigned seed, int levels = 0) {
  std::mt19937 generator(seed);
  std::normal_distribution<double> normal;
  Matrix cost(static_cast<size_t>(n * n));
  for (double& c : cost)
    c = levels > 0 ? static_cast<double>(static_cast<int>(generator()) % levels) : normal(generator);
  return cost;
}

double total(const Matrix& cost, const std::vector<int64_t>& p) {
  double sum = 0;
  const auto n = static_cast<int64_t>(p.size());
  for (int64_t i = 0; i < n; ++i) sum += cost[static_cast<size_t>(i * n + p[static_cast<size_t>(i)])];
  return sum;
}

void expect_permutation(std::vector<int64_t> p, int64_t n) {
  std::ranges::sort(p);
  std::vector<int64_t> all(static_cast<size_t>(n));
  std::iota(all.begin(), all.end(), 0);
  ASSERT_EQ(p, all);
}

// The least total over all n! permutations.
double least_of_all(const Matrix& cost, int64_t n) {
  std::vector<int64_t> p(static_cast<size_t>(n));
  std::iota(p.begin(), p.end(), 0);
  double least = total(cost, p);
  while (std::next_permutation(p.begin(), p.end())) least = std::min(least, total(cost, p));
  return least;
}

// Rows that hand on their columns in a ring: an assignment is the best exactly if no ring gains. By the shortest rings
// through all rows (Floyd and Warshall). Returns the best ring's change, 0 or less where nothing is to be gained: 0.
double best_ring(const Matrix& cost, const std::vector<int64_t>& p) {
  const size_t n = p.size();
  Matrix change(n * n);  // row i takes the column of row j
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j < n; ++j)
      change[i * n + j] = cost[i * n + static_cast<size_t>(p[j])] - cost[i * n + static_cast<size_t>(p[i])];
  }
  for (size_t k = 0; k < n; ++k) {
    for (size_t i = 0; i < n; ++i) {
      for (size_t j = 0; j < n; ++j)
        change[i * n + j] = std::min(change[i * n + j], change[i * n + k] + change[k * n + j]);
    }
  }
  double best = 0;
  for (size_t i = 0; i < n; ++i) best = std::min(best, change[i * n + i]);
  return best;
}

TEST(Assignment, IsTheBestOfAllPermutations) {
  for (int64_t n = 1; n <= 7; ++n) {
    for (unsigned seed = 0; seed < (n < 7 ? 200U : 40U); ++seed) {
      const Matrix cost = random_costs(n, 100 * static_cast<unsigned>(n) + seed);
      const std::vector<int64_t> p = assign(cost, n);
      expect_permutation(p, n);
      ASSERT_NEAR(total(cost, p), least_of_all(cost, n), 1e-12) << "n " << n << ", seed " << seed;
    }
  }
}

TEST(Assignment, IsTheBestWhereManyCostsAreEqual) {
  for (int64_t n = 2; n <= 6; ++n) {
    for (unsigned seed = 0; seed < 200; ++seed) {
      const Matrix cost = random_costs(n, seed, 3);
      const std::vector<int64_t> p = assign(cost, n);
      expect_permutation(p, n);
      ASSERT_EQ(total(cost, p), least_of_all(cost, n)) << "n " << n << ", seed " << seed;
    }
  }
}

TEST(Assignment, OfManyRowsLeavesNoRingOfExchangesThatGains) {
  for (const int64_t n : {30, 97, 200}) {
    for (const int levels : {0, 5, 1000}) {
      const Matrix cost = random_costs(n, static_cast<unsigned>(n), levels);
      const std::vector<int64_t> p = assign(cost, n);
      expect_permutation(p, n);
      EXPECT_GT(best_ring(cost, p), -1e-10) << "n " << n << ", levels " << levels;
    }
  }
  const Matrix cost = random_costs(50, 1);
  std::vector<int64_t> spoilt = assign(cost, 50);
  std::swap(spoilt[3], spoilt[4]);
  EXPECT_LT(best_ring(cost, spoilt), -1e-3);  // the proof itself sees a spoilt one
}

TEST(Assignment, OfProductsPairsInOrder) {
  // The sum of -a_i b_p(i) is least where both are in the same order.
  const int64_t n = 400;
  const Matrix values = random_costs(n, 9);
  Matrix cost(static_cast<size_t>(n * n));
  const double* a = values.data();
  const double* b = values.data() + n;
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < n; ++j) cost[static_cast<size_t>(i * n + j)] = -a[i] * b[j];
  }
  std::vector<int64_t> by_a(static_cast<size_t>(n)), by_b(static_cast<size_t>(n));
  std::iota(by_a.begin(), by_a.end(), 0);
  by_b = by_a;
  std::ranges::sort(by_a, {}, [&](int64_t i) { return a[i]; });
  std::ranges::sort(by_b, {}, [&](int64_t i) { return b[i]; });
  const std::vector<int64_t> p = assign(cost, n);
  for (size_t k = 0; k < by_a.size(); ++k) EXPECT_EQ(p[static_cast<size_t>(by_a[k])], by_b[k]);
}

TEST(Assignment, OfNothingAndOfEqualCostsIsAPermutation) {
  EXPECT_TRUE(assign({}, 0).empty());
  EXPECT_EQ(assign(Matrix{-3}, 1), std::vector<int64_t>{0});
  expect_permutation(assign(Matrix(64 * 64, 2.5), 64), 64);
  expect_permutation(assign(Matrix(9, 1e300), 3), 3);
}

}  // namespace
}  // namespace cfm::flow
