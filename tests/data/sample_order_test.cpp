#include "data/sample_order.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <random>
#include <thread>

namespace cfm {
namespace {

using data::SampleOrder;
using data::Slots;

TEST(Permutation, HoldsEveryIndexOnce) {
  for (const int64_t n : {1, 2, 3, 100, 1297, 65'537}) {
    std::vector<uint32_t> order = data::permutation(7, 3, n);
    std::ranges::sort(order);
    std::vector<uint32_t> expected(static_cast<size_t>(n));
    std::iota(expected.begin(), expected.end(), 0U);
    EXPECT_EQ(order, expected);
  }
  EXPECT_TRUE(data::permutation(7, 3, 0).empty());
}

TEST(Permutation, IsAFunctionOfSeedAndEpoch) {
  EXPECT_EQ(data::permutation(7, 3, 1000), data::permutation(7, 3, 1000));
  EXPECT_NE(data::permutation(7, 3, 1000), data::permutation(7, 4, 1000));
  EXPECT_NE(data::permutation(7, 3, 1000), data::permutation(8, 3, 1000));
  EXPECT_NE(data::permutation(7, 3, 1000), data::permutation(7 + (uint64_t{1} << 32), 3, 1000));
}

// Chi-square over the 24 permutations of 4: 23 degrees of freedom, the 1 - 1e-6 quantile is 70.5.
TEST(Permutation, IsUniform) {
  constexpr int kDraws = 24'000;
  std::map<std::vector<uint32_t>, int> counts;
  for (uint64_t epoch = 0; epoch < kDraws; ++epoch) ++counts[data::permutation(1, epoch, 4)];
  ASSERT_EQ(counts.size(), 24U);
  double chi_square = 0;
  for (const auto& [order, count] : counts) chi_square += (count - 1000.0) * (count - 1000.0) / 1000.0;
  EXPECT_LT(chi_square, 70.5);
}

// Each index is equally often first: the bias of a modulo would show here for no n, so this guards the large picture
// only.
TEST(Permutation, PutsEveryIndexEquallyOftenInFront) {
  std::vector<int> counts(50, 0);
  for (uint64_t epoch = 0; epoch < 50'000; ++epoch) ++counts[data::permutation(2, epoch, 50)[0]];
  double chi_square = 0;
  for (const int count : counts) chi_square += (count - 1000.0) * (count - 1000.0) / 1000.0;
  EXPECT_LT(chi_square, 114);  // 49 degrees of freedom, quantile 1 - 5e-7
}

TEST(SampleOrder, IsThePermutationOfEachEpochOneAfterTheOther) {
  constexpr int64_t n = 37;
  SampleOrder order(11, n);
  std::vector<int64_t> expected;
  for (uint64_t epoch = 0; epoch < 6; ++epoch)
    for (const uint32_t index : data::permutation(11, epoch, n)) expected.push_back(index);
  EXPECT_EQ(order.indices(0, 6 * n), expected);
  for (const auto& [first, count] : {std::pair{0, 1}, {36, 2}, {30, 100}, {5, 0}, {200, 22}, {1, 3}})
    EXPECT_EQ(order.indices(first, count),
              std::vector<int64_t>(expected.begin() + first, expected.begin() + first + count));
}

TEST(SampleOrder, GivesManyThreadsTheSame) {
  SampleOrder order(11, 1000);
  const std::vector<int64_t> expected = SampleOrder(11, 1000).indices(0, 8000);
  std::vector<std::vector<int64_t>> found(4);
  std::vector<std::thread> threads;
  for (size_t t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (int64_t at = 0; at < 8000; at += 250)
        for (const int64_t index : order.indices(at, 250)) found[t].push_back(index);
    });
  for (std::thread& thread : threads) thread.join();
  for (const auto& each : found) EXPECT_EQ(each, expected);
}

// All slots of a step, rank by rank and micro-batch by micro-batch, as the ranks would take them.
std::vector<int64_t> slots_of_all_ranks(int64_t global_batch, int size, int64_t micro_batch) {
  std::vector<int64_t> slots;
  for (int rank = 0; rank < size; ++rank)
    for (const Slots piece : data::micro_batches(data::slots_of_rank(global_batch, rank, size), micro_batch))
      for (int64_t slot = piece.first; slot < piece.last; ++slot) slots.push_back(slot);
  return slots;
}

TEST(Slots, AreEachTakenOnceAndInOrderForAnyWorldSizeAndMicroBatch) {
  std::mt19937 random(1);
  for (int trial = 0; trial < 300; ++trial) {
    const auto global_batch = static_cast<int64_t>(random() % 500 + 1);
    const int size = static_cast<int>(random() % static_cast<unsigned>(global_batch)) + 1;
    const auto micro_batch = static_cast<int64_t>(random() % 20);
    std::vector<int64_t> expected(static_cast<size_t>(global_batch));
    std::iota(expected.begin(), expected.end(), 0);
    ASSERT_EQ(slots_of_all_ranks(global_batch, size, micro_batch), expected)
        << global_batch << " " << size << " " << micro_batch;
  }
}

TEST(Slots, DifferByAtMostOneBetweenRanks) {
  for (int size = 1; size <= 50; ++size) {
    int64_t fewest = 1000, most = 0;
    for (int rank = 0; rank < size; ++rank) {
      const int64_t count = data::slots_of_rank(50, rank, size).count();
      fewest = std::min(fewest, count);
      most = std::max(most, count);
    }
    EXPECT_LE(most - fewest, 1);
    EXPECT_GE(fewest, 1);
  }
}

TEST(MicroBatches, AreAtMostAsLargeAsAskedForAndEven) {
  for (int64_t count = 1; count <= 60; ++count)
    for (int64_t micro_batch = 1; micro_batch <= 70; ++micro_batch) {
      int64_t fewest = 1000, most = 0;
      const auto pieces = data::micro_batches({100, 100 + count}, micro_batch);
      for (const Slots piece : pieces) {
        fewest = std::min(fewest, piece.count());
        most = std::max(most, piece.count());
      }
      ASSERT_LE(most, micro_batch);
      ASSERT_LE(most - fewest, 1);
      ASSERT_EQ(pieces.size(), static_cast<size_t>((count + micro_batch - 1) / micro_batch));
    }
  EXPECT_EQ(data::micro_batches({3, 9}, 0).size(), 1U);
}

}  // namespace
}  // namespace cfm
