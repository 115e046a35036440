// How many checkpoints --check reckons with, against what a run's saves leave, one by one.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "trainer/check_place.h"

namespace cfm::trainer {
namespace {

// The most that are there at once where an evaluator that follows the run evaluates nothing: behind each save go all
// but the newest keep_last, the multiples of keep_every, and of the others the newest keep_unevaluated.
int64_t most_at_once(const TrainConfig& config) {
  std::set<int64_t> there;
  size_t most = 0;
  for (int64_t step = 1; step <= config.steps; ++step) {
    const bool saves = config.checkpoint_every > 0 && step % config.checkpoint_every == 0;
    if (!saves && step != config.steps) continue;
    there.insert(step);
    most = std::max(most, there.size());
    if (config.keep_last == 0) continue;
    std::set<int64_t> kept;
    int64_t newest = 0, unevaluated = 0;
    for (auto at = there.rbegin(); at != there.rend(); ++at) {
      const bool is_new = newest++ < config.keep_last;
      const bool for_ever = config.keep_every > 0 && *at % config.keep_every == 0;
      if (is_new || for_ever || unevaluated++ < config.keep_unevaluated) kept.insert(*at);
    }
    there = kept;
  }
  return static_cast<int64_t>(most);
}

TrainConfig config_of(int64_t keep_last, int64_t keep_every, int64_t keep_unevaluated) {
  TrainConfig config;
  config.steps = 100;
  config.checkpoint_every = 3;
  config.keep_last = keep_last;
  config.keep_every = keep_every;
  config.keep_unevaluated = keep_unevaluated;
  return config;
}

TEST(RoomForCheckpoints, IsThatOfAllThatARunHasAtOnceThoseOfALaggingEvaluatorIncluded) {
  EXPECT_EQ(checkpoints_at_once(config_of(2, 0, 4), 0), 2 + 4 + 1);
  for (const int64_t keep_last : {0, 1, 2, 40})
    for (const int64_t keep_unevaluated : {0, 1, 4, 40}) {
      SCOPED_TRACE(testing::Message() << "keep_last " << keep_last << ", keep_unevaluated " << keep_unevaluated);
      const TrainConfig config = config_of(keep_last, 0, keep_unevaluated);
      EXPECT_EQ(checkpoints_at_once(config, 0), static_cast<double>(most_at_once(config)));
    }
}

// Those kept for ever may be among the newest too: reckoned twice they are a few too many, never too few.
TEST(RoomForCheckpoints, IsNeverTooLittleWhereSomeAreKeptForEver) {
  for (const int64_t keep_every : {3, 6, 10, 50})
    for (const int64_t keep_last : {1, 2, 40})
      for (const int64_t keep_unevaluated : {0, 4}) {
        SCOPED_TRACE(testing::Message() << keep_last << " " << keep_every << " " << keep_unevaluated);
        const TrainConfig config = config_of(keep_last, keep_every, keep_unevaluated);
        const auto most = static_cast<double>(most_at_once(config));
        const double reckoned = checkpoints_at_once(config, 0);
        EXPECT_GE(reckoned, most);
        EXPECT_LE(reckoned, most + static_cast<double>(keep_last + keep_unevaluated) + 1);
      }
}

TEST(RoomForCheckpoints, IsReckonedForAnyFlags) {
  constexpr int64_t kLargest = std::numeric_limits<int64_t>::max();
  TrainConfig config = config_of(kLargest, 0, kLargest);
  config.steps = kLargest;
  config.checkpoint_every = 1;
  EXPECT_EQ(checkpoints_at_once(config, 0), std::ldexp(1.0, 63));
  config.keep_last = 1;
  config.keep_unevaluated = 0;
  config.keep_every = kLargest;
  config.checkpoint_every = kLargest - 1;
  EXPECT_EQ(checkpoints_at_once(config, 0), 2);
}

}  // namespace
}  // namespace cfm::trainer
