// How jobs end: exit codes through mpirun, and one rank's fault as the end of all. Each test starts misbehaving_rank.

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "support/subprocess.h"

namespace cfm::parallel {
namespace {

using test::CommandResult;
using test::run_command;

const std::string kProgram = std::string(CFM_BIN_DIR) + "/misbehaving_rank";
constexpr double kSoon = 20;  // seconds: what the design promises

CommandResult run(int ranks, const std::string& arguments) {
  return run_command(std::string(CFM_MPIRUN) + " -n " + std::to_string(ranks) + " " + kProgram + " " + arguments);
}

size_t count(const std::string& text, const std::string& part) {
  size_t n = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
  return n;
}

testing::AssertionResult says_once(const CommandResult& result, const std::string& part) {
  const size_t times = count(result.output, part);
  if (times == 1) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "'" << part << "' " << times << " times in\n" << result.output;
}

TEST(JobEnd, DoneIsExitCodeZeroWithoutAWord) {
  for (const int ranks : {1, 3}) {
    const CommandResult result = run(ranks, "done");
    EXPECT_EQ(result.exit_code, 0);
    EXPECT_EQ(result.output, "");
  }
}

TEST(JobEnd, ASharedErrorIsPrintedOnceAndItsCodeComesThroughMpirun) {
  for (const int ranks : {1, 2, 3}) {
    for (const char* how : {"shared_error", "shared_error_in_flight"}) {
      const CommandResult result = run(ranks, how);
      EXPECT_EQ(result.exit_code, 2) << result.output;
      EXPECT_TRUE(says_once(result, std::string(how) == "shared_error" ? "cfm: error: --lr is negative"
                                                                       : "cfm: error: met with a reduction under way"));
      EXPECT_LT(result.seconds, kSoon);
    }
  }
}

TEST(JobEnd, RequeueComesThroughMpirun) {
  for (const int ranks : {1, 2, 3}) EXPECT_EQ(run(ranks, "nothing").exit_code, 75);
}

// A launcher that kills the others at the first bad code would report that.
TEST(JobEnd, ABadCodeIsBroughtByRank0AloneWhenTheOthersHaveGone) {
  const std::string each =
      " -n 3 sh -c \"" + kProgram + " nothing; code=\\$?; echo rank \\$OMPI_COMM_WORLD_RANK: \\$code; exit \\$code\"";
  const CommandResult result = run_command(std::string(CFM_MPIRUN) + each);
  EXPECT_EQ(result.exit_code, 75) << result.output;
  for (const char* line : {"rank 0: 75\n", "rank 1: 0\n", "rank 2: 0\n"}) EXPECT_TRUE(says_once(result, line));
  EXPECT_GT(result.output.find("rank 0:"), result.output.find("rank 1:")) << result.output;
  EXPECT_GT(result.output.find("rank 0:"), result.output.find("rank 2:")) << result.output;
}

TEST(JobEnd, ASharedErrorOfOneRankAloneStillEndsAll) {
  const CommandResult result = run(3, "wrongly_shared 1");
  EXPECT_EQ(result.exit_code, 2) << result.output;
  EXPECT_TRUE(says_once(result, "only I see this"));
  EXPECT_NE(result.output.find("rank 1 on host"), std::string::npos) << result.output;
  EXPECT_LT(result.seconds, kSoon);
}

TEST(JobEnd, AnErrorOfOneRankEndsAllNamingItWithItsExitCode) {
  const CommandResult error = run(3, "error 2");
  EXPECT_EQ(error.exit_code, 2) << error.output;
  EXPECT_TRUE(says_once(error, ": shard 3 is damaged\n"));
  EXPECT_NE(error.output.find("rank 2 on host"), std::string::npos) << error.output;
  EXPECT_LT(error.seconds, kSoon);
  EXPECT_EQ(run(2, "retry_error 1").exit_code, 1);
}

TEST(JobEnd, AnyOtherExceptionEndsAllNamingTheRankAndMayBeRetried) {
  const CommandResult result = run(2, "exception 0");
  EXPECT_EQ(result.exit_code, 1) << result.output;
  EXPECT_NE(result.output.find("rank 0 on host"), std::string::npos) << result.output;
  EXPECT_TRUE(says_once(result, ": something else\n"));
  EXPECT_LT(result.seconds, kSoon);
}

TEST(JobEnd, AKilledRankEndsAllWithAMessageThatNamesIt) {
  for (const int who : {0, 1}) {
    const CommandResult result = run(3, "killed " + std::to_string(who));
    EXPECT_EQ(result.exit_code, 137) << result.output;
    EXPECT_NE(result.output.find("process rank " + std::to_string(who)), std::string::npos) << result.output;
    EXPECT_LT(result.seconds, kSoon);
  }
}

// Such a rank says nothing, and the launcher ends the others before they miss it: it is the launcher that names it.
TEST(JobEnd, ARankThatVanishesEndsAllAndTheLauncherNamesIt) {
  for (const int who : {0, 1, 2}) {
    const CommandResult result = run(3, "exits " + std::to_string(who));
    EXPECT_EQ(result.exit_code, 7) << result.output;
    EXPECT_TRUE(says_once(result, "The first process to do so was:"));
    EXPECT_TRUE(says_once(result, "]," + std::to_string(who) + "]\n"));  // Process name: [[job,1],rank]
    EXPECT_TRUE(says_once(result, "Exit code:    7"));
    EXPECT_LT(result.seconds, kSoon);
  }
}

TEST(JobEnd, ARankThatHangsEndsAllInOneReportThatNamesItAndSaysWhereAllWere) {
  for (const int who : {0, 1, 2}) {
    const CommandResult result = run(3, "hangs " + std::to_string(who));
    EXPECT_EQ(result.exit_code, 1) << result.output;
    EXPECT_TRUE(says_once(result, "cfm: watchdog on"));
    const std::string culprit = ": rank " + std::to_string(who) + " on host ";
    const size_t at = result.output.find(culprit);
    ASSERT_NE(at, std::string::npos) << result.output;
    EXPECT_NE(result.output.find("(data, step 5) has made no progress for ", at), std::string::npos) << result.output;
    for (int r = 0; r < 3; ++r) EXPECT_TRUE(says_once(result, "\n  rank " + std::to_string(r) + " on host "));
    EXPECT_EQ(count(result.output, "(backward, step "), 2u) << result.output;
    EXPECT_LT(result.seconds, kSoon);
  }
}

TEST(JobEnd, AStoppedProcessEndsAllNamingItEvenIfItIsTheFirst) {
  for (const int who : {0, 1, 2}) {
    const CommandResult result = run(3, "stopped " + std::to_string(who));
    EXPECT_EQ(result.exit_code, 1) << result.output;
    EXPECT_NE(result.output.find(": rank " + std::to_string(who) + " on host "), std::string::npos) << result.output;
    EXPECT_LT(result.seconds, kSoon);
  }
}

TEST(JobEnd, ARankThatWaitsMayDoSoForAsLongAsAnotherOneWorks) {
  for (const int who : {0, 2}) {
    const CommandResult result = run(3, "works_long " + std::to_string(who));
    EXPECT_EQ(result.exit_code, 0) << result.output;
    EXPECT_EQ(result.output, "");
    EXPECT_GT(result.seconds, 6) << "three times what a rank may be without progress";
  }
}

TEST(JobEnd, AHangWhileTheOthersWaitIsBlamedOnTheOneThatDoesNot) {
  for (const int who : {0, 1, 2}) {
    const CommandResult result = run(3, "hangs_alone " + std::to_string(who));
    EXPECT_EQ(result.exit_code, 1) << result.output;
    EXPECT_NE(result.output.find(": rank " + std::to_string(who) + " on host "), std::string::npos) << result.output;
    EXPECT_NE(result.output.find("(held-out, step 1) has made no progress for "), std::string::npos) << result.output;
    EXPECT_LT(result.seconds, kSoon);
  }
}

TEST(JobEnd, RanksThatAllWaitForEachOtherAreEnded) {
  const CommandResult result = run(3, "all_wait");
  EXPECT_EQ(result.exit_code, 1) << result.output;
  EXPECT_TRUE(says_once(result, "cfm: watchdog on"));
  EXPECT_LT(result.seconds, kSoon);
}

TEST(JobEnd, AHangBeforeTheFirstStepHasALimitOfItsOwn) {
  for (const int who : {0, 1}) {
    const CommandResult result = run(2, "hangs_at_the_start " + std::to_string(who));
    EXPECT_EQ(result.exit_code, 1) << result.output;
    EXPECT_NE(result.output.find("rank " + std::to_string(who) + " on host "), std::string::npos) << result.output;
    EXPECT_NE(result.output.find("(start, step 0) has made no progress for "), std::string::npos) << result.output;
    EXPECT_LT(result.seconds, kSoon);
  }
}

TEST(JobEnd, AProgramStartedAloneIsAJobOfOneRank) {
  EXPECT_EQ(run_command(kProgram + " done").exit_code, 0);
  EXPECT_EQ(run_command(kProgram + " nothing").exit_code, 75);
  const CommandResult error = run_command(kProgram + " shared_error");
  EXPECT_EQ(error.exit_code, 2);
  EXPECT_EQ(error.output, "cfm: error: --lr is negative\n");
  const CommandResult hang = run_command(kProgram + " hangs");
  EXPECT_EQ(hang.exit_code, 1) << hang.output;
  EXPECT_TRUE(says_once(hang, "cfm: watchdog on rank 0 on host"));
}

TEST(JobEnd, ALaunchWhoseRanksDidNotFindEachOtherIsRefused) {
  for (const std::string environment : {"SLURM_PROCID=0 SLURM_NTASKS=4", "OMPI_COMM_WORLD_SIZE=4", "PMI_SIZE=4"}) {
    const CommandResult result = run_command("env " + environment + " " + kProgram + " done");
    EXPECT_EQ(result.exit_code, 2) << result.output;
    EXPECT_TRUE(says_once(result, "MPI has 1 rank, but "));
    EXPECT_NE(result.output.find("=4"), std::string::npos) << result.output;
  }
  const CommandResult another = run_command("env SLURM_PROCID=3 SLURM_NTASKS=4 " + kProgram + " done");
  EXPECT_EQ(another.exit_code, 2);
  EXPECT_EQ(another.output, "") << "one message is enough";
  EXPECT_EQ(run_command("env SLURM_NTASKS=4 " + kProgram + " done").exit_code, 0) << "salloc alone starts nothing";
}

}  // namespace
}  // namespace cfm::parallel
