#include "data/sample_order.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <random>
#include <string>
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

// What runs and shards have been made with: another permutation would change them all without a word.
TEST(Permutation, StaysWhatItHasBeen) {
  EXPECT_EQ(data::permutation(7, 3, 10), (std::vector<uint32_t>{5, 7, 0, 3, 6, 8, 4, 2, 1, 9}));
  EXPECT_EQ(data::permutation(7, 3, 10, 2), (std::vector<uint32_t>{0, 1, 3, 9, 6, 8, 2, 4, 5, 7}));
  EXPECT_EQ(data::permutation(Stream{7, Purpose::kPackShuffle, 0}, 10),
            (std::vector<uint32_t>{7, 6, 8, 4, 3, 1, 2, 5, 9, 0}));
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
  EXPECT_EQ(order.indices(0, 6 * n, {0, 6 * n}), expected);
  for (const auto& [first, count] : {std::pair{0, 1}, {36, 2}, {30, 100}, {5, 0}, {200, 22}, {1, 3}})
    EXPECT_EQ(order.indices(first, count, {0, count}),
              std::vector<int64_t>(expected.begin() + first, expected.begin() + first + count));
}

TEST(SampleOrder, GivesManyThreadsTheSame) {
  SampleOrder order(11, 1000);
  const std::vector<int64_t> expected = SampleOrder(11, 1000).indices(0, 8000, {0, 8000});
  std::vector<std::vector<int64_t>> found(4);
  std::vector<std::thread> threads;
  for (size_t t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (int64_t at = 0; at < 8000; at += 250)
        for (const int64_t index : order.indices(at, 250, {0, 250})) found[t].push_back(index);
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

// ---- properties, for random sizes ----

struct Case {
  int64_t images, groups, nodes, ranks_per_node, global_batch, steps, micro_batch;
};

// M divides C, C divides G, any W/M ranks a node.
Case random_case(std::mt19937& random) {
  const auto upto = [&](unsigned n) { return static_cast<int64_t>(random() % n) + 1; };
  Case c{};
  c.nodes = upto(4);
  c.groups = c.nodes * upto(3);
  c.global_batch = c.groups * upto(9);
  c.ranks_per_node = upto(static_cast<unsigned>(c.global_batch / c.nodes));
  c.images = c.groups + upto(200);
  c.steps = upto(40);
  c.micro_batch = upto(6) - 1;
  return c;
}

// The sequence that all ranks of all nodes take together from images_seen on.
std::vector<int64_t> sequence(const Case& c, uint64_t seed, int64_t images_seen, int64_t steps) {
  SampleOrder order(seed, c.images, c.groups);
  std::vector<int64_t> taken;
  const auto world = static_cast<int>(c.nodes * c.ranks_per_node);
  for (int64_t step = 0; step < steps; ++step)
    for (int rank = 0; rank < world; ++rank)
      for (const Slots piece : data::micro_batches(data::slots_of_rank(c.global_batch, rank, world), c.micro_batch))
        for (const int64_t index : order.indices(images_seen + step * c.global_batch, c.global_batch, piece))
          taken.push_back(index);
  return taken;
}

TEST(SampleOrderProperty, TheSequenceIsTheSameForAnyNodesRanksAndMicroBatches) {
  std::mt19937 random(2);
  for (int trial = 0; trial < 200; ++trial) {
    const Case c = random_case(random);
    Case alone = c;
    alone.nodes = alone.ranks_per_node = 1;
    alone.micro_batch = 0;
    ASSERT_EQ(sequence(c, 3, 0, c.steps), sequence(alone, 3, 0, c.steps)) << "trial " << trial;
  }
}

TEST(SampleOrderProperty, AResumeGoesOnWithTheSameSequenceWhereverItWasInterrupted) {
  std::mt19937 random(3);
  for (int trial = 0; trial < 200; ++trial) {
    const Case c = random_case(random);
    const auto stop = static_cast<int64_t>(random() % static_cast<unsigned>(c.steps));
    std::vector<int64_t> parts = sequence(c, 4, 0, stop);
    const std::vector<int64_t> rest = sequence(c, 4, stop * c.global_batch, c.steps - stop);
    parts.insert(parts.end(), rest.begin(), rest.end());
    ASSERT_EQ(parts, sequence(c, 4, 0, c.steps)) << "trial " << trial;
  }
}

// What each group has taken of its own images, in its order: a step's slots of a group lie behind each other.
std::vector<std::vector<int64_t>> by_group(const Case& c, const std::vector<int64_t>& taken) {
  std::vector<std::vector<int64_t>> groups(static_cast<size_t>(c.groups));
  const int64_t of_group = c.global_batch / c.groups;
  for (size_t i = 0; i < taken.size(); ++i)
    groups[static_cast<size_t>(static_cast<int64_t>(i) % c.global_batch / of_group)].push_back(taken[i]);
  return groups;
}

TEST(SampleOrderProperty, EachEpochOfEachGroupIsAPermutationOfItsImagesAlsoWithAnotherBatchAfterAResume) {
  std::mt19937 random(4);
  for (int trial = 0; trial < 200; ++trial) {
    const Case c = random_case(random);
    Case other = c;  // the batch changes at a resume
    other.global_batch = c.groups * (static_cast<int64_t>(random() % 9) + 1);
    other.ranks_per_node = 1;
    auto groups = by_group(c, sequence(c, 5, 0, c.steps));
    const auto later = by_group(other, sequence(other, 5, c.steps * c.global_batch, 60));
    for (size_t g = 0; g < groups.size(); ++g) {
      groups[g].insert(groups[g].end(), later[g].begin(), later[g].end());
      // Sizes of groups by long division: the first images go to ranges that are cut at floor(cN/C).
      const auto first = static_cast<int64_t>(g) * c.images / c.groups,
                 last = (static_cast<int64_t>(g) + 1) * c.images / c.groups;
      ASSERT_TRUE(last - first == c.images / c.groups || last - first == c.images / c.groups + 1);
      std::vector<int64_t> expected(static_cast<size_t>(last - first));
      std::iota(expected.begin(), expected.end(), first);
      for (size_t at = 0; at < groups[g].size(); at += expected.size()) {
        std::vector<int64_t> epoch(
            groups[g].begin() + static_cast<std::ptrdiff_t>(at),
            groups[g].begin() + static_cast<std::ptrdiff_t>(std::min(at + expected.size(), groups[g].size())));
        std::ranges::sort(epoch);
        ASSERT_EQ(std::ranges::adjacent_find(epoch), epoch.end()) << "an image twice in an epoch, trial " << trial;
        ASSERT_GE(epoch.front(), first);
        ASSERT_LT(epoch.back(), last) << "another group's image, trial " << trial;
        if (epoch.size() == expected.size()) {
          ASSERT_EQ(epoch, expected);
        }
      }
    }
  }
}

TEST(SampleOrderProperty, GroupsAndEpochsHavePermutationsOfTheirOwn) {
  const auto of = [](uint64_t epoch, int64_t group) { return data::permutation(7, epoch, 100, group); };
  EXPECT_NE(of(0, 0), of(0, 1));
  EXPECT_NE(of(0, 1), of(1, 1));
  EXPECT_EQ(of(3, 0), data::permutation(7, 3, 100)) << "one group has the order that it has without groups";
}

std::string problems(int64_t groups, int64_t global_batch, int64_t images_seen, const std::vector<int>& ranks_by_node) {
  std::string all;
  for (const std::string& problem : data::group_problems(groups, global_batch, 1000, images_seen, ranks_by_node))
    all += problem + "|";
  return all;
}

TEST(DataGroups, ThatCannotBeDealtAreRefusedWithTheLegalValues) {
  EXPECT_EQ(problems(4, 64, 128, {2, 2}), "");
  EXPECT_EQ(problems(1, 7, 13, {1, 3, 2}), "") << "one group suits any ranks";
  EXPECT_NE(problems(4, 64, 0, {1, 1, 1}).find("3 nodes"), std::string::npos);
  EXPECT_NE(problems(4, 64, 0, {1, 1, 1}).find("nodes: 1, 2, 4."), std::string::npos);
  EXPECT_NE(problems(6, 20, 0, {1, 1}).find("a multiple of it"), std::string::npos);
  EXPECT_NE(problems(6, 20, 0, {1, 1}).find("legal for 2 nodes: 2, 4, 10, 20."), std::string::npos);
  EXPECT_NE(problems(4, 64, 130, {1, 1}).find("130 images"), std::string::npos);
  EXPECT_NE(problems(4, 64, 0, {1, 2}).find("1 to 2 ranks"), std::string::npos);
  EXPECT_NE(problems(0, 64, 0, {1}).find("expected 1 to 1000"), std::string::npos);
  EXPECT_NE(problems(1001, 1001, 0, {1}).find("expected 1 to 1000"), std::string::npos);
  EXPECT_EQ(data::group_problems(6, 20, 1000, 3, {1, 2, 1, 1}).size(), 4U) << "all problems at once";
}

}  // namespace
}  // namespace cfm
