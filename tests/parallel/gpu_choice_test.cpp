#include "parallel/gpu_choice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace cfm::parallel {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::ThrowsMessage;

TEST(GpuOfRank, IsTheLocalRanksAmongAsManyAsThereAreRanksOrMore) {
  EXPECT_EQ(gpu_of_rank(0, 4, 4), 0);
  EXPECT_EQ(gpu_of_rank(3, 4, 4), 3);
  EXPECT_EQ(gpu_of_rank(1, 2, 8), 1);
}

TEST(GpuOfRank, IsTheOnlyOneThatTheSchedulerShows) {
  for (const int local_rank : {0, 1, 7}) EXPECT_EQ(gpu_of_rank(local_rank, 8, 1), 0);
}

TEST(GpuOfRank, WithoutAGpuSaysToAskForTheCpu) {
  EXPECT_THAT([] { gpu_of_rank(0, 1, 0); }, ThrowsMessage<Error>(HasSubstr("--device=cpu")));
}

TEST(GpuOfRank, MoreRanksThanGpusIsRefusedOnEveryRankOfTheNode) {
  for (const int local_rank : {0, 2}) {
    EXPECT_THAT([&] { gpu_of_rank(local_rank, 3, 2); },
                ThrowsMessage<Error>(AllOf(HasSubstr("3 ranks on this node"), HasSubstr("2 GPUs"))));
  }
}

TEST(DistinctGpus, TheSameBusIdOnAnotherMachineIsAnotherGpu) {
  EXPECT_NO_THROW(check_distinct_gpus({{"a", "0000:01:00.0"}, {"a", "0000:02:00.0"}, {"b", "0000:01:00.0"}}));
}

TEST(DistinctGpus, TwoRanksOnOneAreNamedWithTheGpuThatTheyShare) {
  EXPECT_THAT(
      [] {
        check_distinct_gpus(
            {{"a", "0000:01:00.0"}, {"a", "0000:02:00.0"}, {"b", "0000:03:00.0"}, {"a", "0000:02:00.0"}});
      },
      ThrowsMessage<SharedError>(
          AllOf(HasSubstr("ranks 1 and 3"), HasSubstr("0000:02:00.0"), Not(HasSubstr("0000:01:00.0")))));
}

}  // namespace
}  // namespace cfm::parallel
