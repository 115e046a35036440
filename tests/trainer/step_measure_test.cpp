#include "trainer/step_measure.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace cfm::trainer {
namespace {

constexpr size_t at(Phase phase) { return static_cast<size_t>(phase); }

// What all ranks hear if these are the measures of ranks 0, 1, ..., as parallel::StepControl adds them up.
StepOverRanks heard(const std::vector<StepMeasure>& measures) {
  const int ranks = static_cast<int>(measures.size());
  parallel::StepSummary summary;
  for (int rank = 0; rank < ranks; ++rank) {
    const parallel::StepReport one = to_report(measures[static_cast<size_t>(rank)], false, rank, ranks);
    summary.sums.resize(one.sums.size());
    for (size_t i = 0; i < one.sums.size(); ++i) summary.sums[i] += one.sums[i];
    if (rank == 0) summary.maxima = one.maxima;
    for (size_t i = 0; i < one.maxima.size(); ++i) summary.maxima[i] = std::max(summary.maxima[i], one.maxima[i]);
  }
  return over_ranks(summary, ranks);
}

// Rank 0 waits two seconds for the others in the reduction; rank 1 is the slow one; rank 2
// stands still for a checkpoint for longer than all that.
std::vector<StepMeasure> three_ranks() {
  std::vector<StepMeasure> ranks(3);
  //                         data transfer forward backward all_reduce optimizer ema checkpoint
  ranks[0].phase_seconds = {0.5, 0.25, 1, 2, 2, 0.5, 0.25, 0};
  ranks[1].phase_seconds = {0.5, 0.25, 3, 2, 0, 0.5, 0.25, 0.125};
  ranks[2].phase_seconds = {2, 0.25, 1, 2, 0.5, 0.5, 0.25, 9};
  for (StepMeasure& rank : ranks) rank.step_seconds = 6.5;
  ranks[2].step_seconds = 6.75;
  return ranks;
}

TEST(StepMeasure, TellsEachPhaseOverRanksAsItsLeastItsMeanAndItsMost) {
  const StepOverRanks all = heard(three_ranks());
  struct Expected {
    Phase phase;
    double least, mean, most;
  };
  for (const auto& [phase, least, mean, most] : std::vector<Expected>{
           {Phase::kData, 0.5, 1, 2},
           {Phase::kTransfer, 0.25, 0.25, 0.25},
           {Phase::kForward, 1, 5.0 / 3, 3},
           {Phase::kBackward, 2, 2, 2},
           {Phase::kAllReduce, 0, 2.5 / 3, 2},
           {Phase::kOptimizer, 0.5, 0.5, 0.5},
           {Phase::kEma, 0.25, 0.25, 0.25},
           {Phase::kCheckpoint, 0, 9.125 / 3, 9},
       }) {
    EXPECT_DOUBLE_EQ(all.phase_min[at(phase)], least) << kPhaseNames[at(phase)];
    EXPECT_DOUBLE_EQ(all.phase_mean[at(phase)], mean) << kPhaseNames[at(phase)];
    EXPECT_DOUBLE_EQ(all.phase_max[at(phase)], most) << kPhaseNames[at(phase)];
  }
  EXPECT_EQ(all.step_seconds, 6.75);
}

// Without the waits for others and for saves the ranks took 4.5, 6.5 and 6 seconds.
TEST(StepMeasure, NamesTheRankThatTookLongestByItself) {
  const StepOverRanks all = heard(three_ranks());
  EXPECT_EQ(all.slowest_rank, 1);
  EXPECT_NEAR(all.slowest_lag, 6.5 / ((4.5 + 6.5 + 6) / 3) - 1, 1e-6);
}

TEST(StepMeasure, NamesTheSlowRankWhateverItsNumber) {
  for (int slow = 0; slow < 4; ++slow) {
    std::vector<StepMeasure> ranks(4);
    for (int rank = 0; rank < 4; ++rank) {
      StepMeasure& measure = ranks[static_cast<size_t>(rank)];
      measure.phase_seconds[at(Phase::kForward)] = rank == slow ? 2 : 1;
      measure.phase_seconds[at(Phase::kBackward)] = 1;
      measure.phase_seconds[at(Phase::kAllReduce)] = rank == slow ? 0 : 1;  // the others wait for it
      measure.step_seconds = 3;
    }
    const StepOverRanks all = heard(ranks);
    EXPECT_EQ(all.slowest_rank, slow);
    EXPECT_NEAR(all.slowest_lag, 3 / ((3 + 2 + 2 + 2) / 4.0) - 1, 1e-6);
  }
}

TEST(StepMeasure, OfOneRankHasNoLag) {
  const StepOverRanks all = heard({three_ranks()[2]});
  EXPECT_EQ(all.slowest_rank, 0);
  EXPECT_NEAR(all.slowest_lag, 0, 1e-6);
}

}  // namespace
}  // namespace cfm::trainer
