#include "data/loader.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <set>
#include <thread>

#include "support/data_support.h"
#include "support/shard_files.h"

namespace cfm {
namespace {

using data::Batch;
using data::Dataset;
using data::ImageShape;
using data::Loader;
using data::LoaderConfig;

constexpr ImageShape kShape{3, 4, 4};
constexpr int64_t kImages = 53;

class LoaderTest : public ::testing::Test {
 protected:
  LoaderTest() : dataset_(write()) {}
  Dataset write() {
    tests::write_shard(folder_ / "a.h5", kShape, 20, 0);
    tests::write_shard(folder_ / "b.h5", kShape, 30, 20);
    tests::write_shard(folder_ / "c.h5", kShape, 3, 50);
    return Dataset::open(folder_.path());
  }
  // Expects the batch to be draws first .. of the order that design and seed fix, with their images and labels.
  void expect_batch(const Batch& batch, uint64_t seed, int64_t first, int64_t count) const {
    ASSERT_EQ(batch.first_draw, first);
    ASSERT_EQ(batch.images.sizes(), (std::vector<int64_t>{count, 3, 4, 4}));
    ASSERT_EQ(batch.labels.sizes(), (std::vector<int64_t>{count}));
    ASSERT_EQ(batch.image_ids.size(), static_cast<size_t>(count));
    for (int64_t i = 0; i < count; ++i) {
      const int64_t g = first + i;
      const int64_t id =
          data::permutation(seed, static_cast<uint64_t>(g / kImages), kImages)[static_cast<size_t>(g % kImages)];
      ASSERT_EQ(batch.image_ids[static_cast<size_t>(i)], id);
      const std::vector<uint8_t> pixels = tests::pixels_of(id, kShape);
      ASSERT_EQ(std::memcmp(batch.images.const_data_ptr<uint8_t>() + i * kShape.bytes(), pixels.data(), pixels.size()),
                0);
      ASSERT_EQ(batch.labels.const_data_ptr<int64_t>()[i], tests::label_of(id));
    }
  }
  tests::ScratchDirectory folder_;
  Dataset dataset_;
};

TEST_F(LoaderTest, GivesEveryRankItsSlotsOfTheOneOrderWhateverTheThreads) {
  for (const int size : {1, 2, 3, 4})
    for (const int64_t micro_batch : {0, 4})
      for (int rank = 0; rank < size; ++rank) {
        LoaderConfig config{
            .seed = 5, .global_batch = 17, .micro_batch = micro_batch, .rank = rank, .size = size, .threads = 3};
        Loader loader(dataset_, config, 2, 40);
        const data::Slots slots = data::slots_of_rank(17, rank, size);
        for (int64_t step = 2; step < 12; ++step) {
          int64_t draw = 40 + (step - 2) * 17 + slots.first;
          for (int64_t micro = 0; micro < loader.micro_batches_per_step(); ++micro) {
            const Batch batch = loader.next();
            ASSERT_EQ(batch.step, step);
            ASSERT_LE(batch.images.size(0), micro_batch == 0 ? 17 : 4);
            expect_batch(batch, 5, draw, batch.images.size(0));
            draw += batch.images.size(0);
          }
          ASSERT_EQ(draw, 40 + (step - 2) * 17 + slots.last);
        }
      }
}

TEST_F(LoaderTest, ContinuesWhereItWasInterruptedAndWithAnotherGlobalBatch) {
  LoaderConfig config{.seed = 9, .global_batch = 10};
  std::vector<int64_t> seen;
  const auto take = [&](Loader& loader, int steps) {
    for (int i = 0; i < steps; ++i) {
      const std::vector<int64_t> ids = loader.next().image_ids;
      seen.insert(seen.end(), ids.begin(), ids.end());
    }
  };
  Loader first(dataset_, config, 0, 0);
  take(first, 7);
  Loader resumed(dataset_, config, 7, 70);
  take(resumed, 3);
  config.global_batch = 25;
  Loader larger(dataset_, config, 10, 100);
  take(larger, 4);
  EXPECT_EQ(seen, data::SampleOrder(9, kImages).indices(0, 200, {0, 200}));
}

TEST_F(LoaderTest, TakesBatchesLargerThanTheDataSet) {
  Loader loader(dataset_, LoaderConfig{.seed = 1, .global_batch = 150}, 0, 0);
  expect_batch(loader.next(), 1, 0, 150);
  expect_batch(loader.next(), 1, 150, 150);
}

TEST_F(LoaderTest, RunsPrepareInItsThreadsAndKeepsTheOrder) {
  const std::thread::id caller = std::this_thread::get_id();
  std::atomic<int> in_caller = 0;
  Loader loader(dataset_, LoaderConfig{.global_batch = 4, .threads = 4, .ahead = 5}, 0, 0, [&](Batch& batch) {
    if (std::this_thread::get_id() == caller) ++in_caller;
    std::this_thread::sleep_for(std::chrono::milliseconds(batch.step % 3));  // so that later ones finish first
    batch.extra = batch.step * 100;
  });
  for (int64_t step = 0; step < 40; ++step) {
    const Batch batch = loader.next();
    ASSERT_EQ(batch.step, step);
    ASSERT_EQ(std::any_cast<int64_t>(batch.extra), step * 100);
  }
  EXPECT_EQ(in_caller, 0);
}

TEST_F(LoaderTest, RethrowsAnErrorOfPrepareInItsTurn) {
  Loader loader(dataset_, LoaderConfig{.global_batch = 4, .threads = 3}, 0, 0, [](Batch& batch) {
    if (batch.step == 5) throw Error("the noise of step 5");
  });
  for (int64_t step = 0; step < 5; ++step) EXPECT_EQ(loader.next().step, step);
  tests::expect_refusal([&] { loader.next(); }, {"the noise of step 5"});
  tests::expect_refusal([&] { loader.next(); }, {"the noise of step 5"});
}

TEST_F(LoaderTest, RethrowsAReadErrorThatNamesTheFile) {
  const Dataset dataset = Dataset::open(folder_.path(), {.data_mode = "pread"});
  std::filesystem::resize_file(folder_ / "b.h5", 100);
  Loader loader(dataset, LoaderConfig{.global_batch = 53, .threads = 2}, 0, 0);
  tests::expect_refusal([&] { loader.next(); }, {"b.h5", "shrunk"});
}

TEST_F(LoaderTest, UsesTheMemoryOfABatchAgainOnlyWhenNobodyHoldsIt) {
  Loader loader(dataset_, LoaderConfig{.seed = 5, .global_batch = 4, .ahead = 2}, 0, 0);
  std::set<const void*> seen;
  for (int step = 0; step < 50; ++step) seen.insert(loader.next().images.const_data_ptr());
  EXPECT_LE(seen.size(), 4U) << "every batch had memory of its own";
  std::vector<Batch> held;
  for (int step = 0; step < 20; ++step) held.push_back(loader.next());
  for (size_t i = 0; i < held.size(); ++i) expect_batch(held[i], 5, 200 + 4 * static_cast<int64_t>(i), 4);
}

TEST_F(LoaderTest, MakesNoMoreThanItMayKeepReady) {
  std::atomic<int> made = 0;
  Loader loader(dataset_, LoaderConfig{.global_batch = 1, .threads = 4, .ahead = 3}, 0, 0, [&](Batch&) { ++made; });
  for (int i = 0; i < 10; ++i) {
    loader.next();
    EXPECT_LE(made, i + 4);
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_LE(made, 13);
}

TEST_F(LoaderTest, CountsTheSecondsThatItsCallerWaits) {
  Loader loader(dataset_, LoaderConfig{.global_batch = 1, .ahead = 1}, 0, 0,
                [](Batch&) { std::this_thread::sleep_for(std::chrono::milliseconds(30)); });
  const auto start = std::chrono::steady_clock::now();
  loader.next();
  loader.next();
  loader.next();
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  const double waited = loader.take_wait_seconds();
  EXPECT_GT(waited, 0.02) << "two batches are made while the caller waits, 0.03 s each";
  EXPECT_LE(waited, elapsed.count());
  EXPECT_EQ(loader.take_wait_seconds(), 0);
}

TEST_F(LoaderTest, StopsWhileItsThreadsAreAtWork) {
  for (int i = 0; i < 50; ++i) Loader(dataset_, LoaderConfig{.global_batch = 20, .threads = 4}, 0, 0);
}

TEST(LoaderConfig, ListsAllProblems) {
  const Problems problems =
      LoaderConfig{.global_batch = 0, .micro_batch = -1, .rank = 2, .size = 2, .threads = 0, .ahead = 0}.validate();
  EXPECT_EQ(problems.size(), 5U);
  EXPECT_EQ(problems[0], "--global_batch=0: expected 1 or more.");
  EXPECT_EQ((LoaderConfig{.global_batch = 2, .size = 3}.validate().size()), 1U);
  EXPECT_TRUE((LoaderConfig{.global_batch = 3, .size = 3}.validate().empty()));
}

}  // namespace
}  // namespace cfm
