#include "parallel/mpi_session.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <thread>

#include "support/mpi_tests.h"

namespace cfm::parallel {
namespace {

using test::session;

TEST(Communicator, BroadcastGivesEveryRankTheRootsText) {
  const int root = session().size() - 1;
  const std::string mine = "text of rank " + std::to_string(session().rank());
  EXPECT_EQ(session().control().broadcast(mine, root), "text of rank " + std::to_string(root));
  EXPECT_EQ(session().control().broadcast(session().rank() == 0 ? "" : mine), "");
}

TEST(Communicator, AllGatherReturnsTextsOfDifferentLengthsByRank) {
  const std::vector<std::string> all =
      session().control().all_gather(std::string(static_cast<size_t>(session().rank()) * 3, 'x'));
  ASSERT_EQ(all.size(), static_cast<size_t>(session().size()));
  for (size_t r = 0; r < all.size(); ++r) EXPECT_EQ(all[r], std::string(r * 3, 'x'));
}

TEST(Communicator, GatherGivesTheRootAllBytesAndOthersNone) {
  const int root = session().size() - 1;
  const auto bytes_of = [](int r) { return std::string(100000, static_cast<char>(r)); };
  const std::vector<std::string> all = session().control().gather(bytes_of(session().rank()), root);
  if (session().rank() != root) {
    EXPECT_TRUE(all.empty());
    return;
  }
  ASSERT_EQ(all.size(), static_cast<size_t>(session().size()));
  for (int r = 0; r < session().size(); ++r) EXPECT_EQ(all[static_cast<size_t>(r)], bytes_of(r));
}

TEST(Communicator, SumAddsInRankOrder) {
  // 1e16 + 1 + 1 + ... loses every 1 when added from the left, which another order would keep.
  std::vector<double> values(7, session().rank() == 0 ? 1e16 : 1.0);
  session().control().sum(values);
  double expected = 1e16;
  for (int r = 1; r < session().size(); ++r) expected += 1.0;
  EXPECT_EQ(values, std::vector<double>(7, expected));
}

TEST(Communicator, MaxOfNanIsNanOnEveryRank) {
  const int rank = session().rank(), last = session().size() - 1;
  std::vector<double> values{static_cast<double>(-rank), rank == last ? std::nan("") : 1.0};
  session().control().max(values);
  EXPECT_EQ(values[0], 0.0);
  EXPECT_TRUE(std::isnan(values[1]));
}

TEST(Communicator, AnyIsTrueOnAllRanksIfOneSaysSo) {
  EXPECT_FALSE(session().control().any(false));
  EXPECT_TRUE(session().control().any(session().rank() == session().size() - 1));
}

TEST(Communicator, MessagesOnDuplicatesDoNotMeet) {
  const Communicator a = session().duplicate(), b = session().duplicate();
  const auto ranks = static_cast<size_t>(session().size());
  std::vector<std::string> on_b;
  std::thread other([&] {
    for (int i = 0; i < 50; ++i) on_b = b.all_gather("b");
  });
  for (int i = 0; i < 50; ++i) EXPECT_EQ(a.all_gather("a"), std::vector<std::string>(ranks, "a"));
  other.join();
  EXPECT_EQ(on_b, std::vector<std::string>(ranks, "b"));
}

TEST(Session, KnowsItsNode) {
  EXPECT_EQ(session().local_size(), session().size());  // tests run on one machine
  EXPECT_EQ(session().local_rank(), session().rank());
  EXPECT_FALSE(session().host().empty());
}

TEST(Agree, PassesIfNoRankHasAProblem) { EXPECT_NO_THROW(agree(session(), std::nullopt)); }

TEST(Agree, AProblemOfOneRankIsThrownOnAllAndNamesIt) {
  const int last = session().size() - 1;
  try {
    agree(session(), session().rank() == last ? std::optional(RankProblem{"the shard is damaged", ExitCode::kRetry})
                                              : std::nullopt);
    FAIL() << "nothing thrown";
  } catch (const SharedError& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::kRetry);
    const std::string who = last == 0 ? "" : "rank " + std::to_string(last) + " on host " + session().host() + ": ";
    EXPECT_EQ(std::string(error.what()), who + "the shard is damaged");
  }
}

TEST(Agree, EqualProblemsOfAllRanksAreOneLineAndTheWorstExitCodeCounts) {
  try {
    agree(session(), RankProblem{"no such file", session().rank() == 0 ? ExitCode::kWontWork : ExitCode::kRetry});
    FAIL() << "nothing thrown";
  } catch (const SharedError& error) {
    EXPECT_EQ(std::string(error.what()), "no such file");
    EXPECT_EQ(error.exit_code(), ExitCode::kWontWork);
  }
}

TEST(Agree, WorkThatFailsOnOneRankFailsOnAll) {
  bool worked = false;
  const auto work = [&] {
    check(session().rank() != 0, "rank 0 cannot");
    worked = true;
  };
  EXPECT_THROW(agree_on(session(), work), SharedError);
  EXPECT_EQ(worked, session().rank() != 0);
}

}  // namespace
}  // namespace cfm::parallel

int main(int argc, char** argv) { return cfm::test::run_mpi_tests(argc, argv); }
