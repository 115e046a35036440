#include "parallel/process_group.h"

#include <thread>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>
#include <torch/csrc/distributed/c10d/Store.hpp>

#include "support/mpi_tests.h"

namespace cfm::parallel {
namespace {

using test::session;

const c10::Device kCpu(c10::kCPU);

TEST(ProcessGroup, AllRanksShareOneStore) {
  ProcessGroup group(session(), kCpu, std::chrono::seconds(60));
  const auto key = [](int r) { return "from/" + std::to_string(r); };
  group.store().set(key(session().rank()), "value " + std::to_string(session().rank()));
  for (int r = 0; r < session().size(); ++r) EXPECT_EQ(group.store().get_to_str(key(r)), "value " + std::to_string(r));
  session().control().barrier();
  EXPECT_GT(group.store().add("count", 1), 0);
  session().control().barrier();
  EXPECT_EQ(group.store().add("count", 0), session().size());
  session().control().barrier();
  group.shut_down();
}

TEST(ProcessGroup, CanBeMadeAgainAfterShutDown) {
  for (int i = 0; i < 3; ++i) {
    ProcessGroup group(session(), kCpu, std::chrono::seconds(60));
    EXPECT_EQ(group.c10d().getSize(), session().size());
    EXPECT_EQ(group.c10d().getRank(), session().rank());
    group.shut_down();
  }
}

TEST(Store, AGetWaitsForTheKeyThatAnotherRankSetsLater) {
  ProcessGroup group(session(), kCpu, std::chrono::seconds(60));
  const int last = session().size() - 1;
  if (session().rank() == last) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    group.store().set("late", "here");
  }
  EXPECT_EQ(group.store().get_to_str("late"), "here");
  group.shut_down();
}

TEST(Store, AKeyThatNeverComesIsAnErrorThatNamesIt) {
  ProcessGroup group(session(), kCpu, std::chrono::seconds(60));
  try {
    group.store().wait({"never"}, std::chrono::milliseconds(50));
    ADD_FAILURE() << "nothing thrown";
  } catch (const c10::Error& error) {
    EXPECT_NE(std::string(error.what()).find("never"), std::string::npos) << error.what();
  }
  group.shut_down();
}

TEST(Store, ManyThreadsOfAllRanksCountTogether) {
  ProcessGroup group(session(), kCpu, std::chrono::seconds(60));
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      const auto store = group.store().clone();
      for (int i = 0; i < 25; ++i) store->add("count", 1);
    });
  }
  for (std::thread& thread : threads) thread.join();
  session().control().barrier();
  EXPECT_EQ(group.store().add("count", 0), 100 * session().size());
  group.shut_down();
}

TEST(Store, KeysCanBeCheckedComparedAndDeleted) {
  ProcessGroup group(session(), kCpu, std::chrono::seconds(60));
  c10d::Store& store = group.store();
  const std::string mine = "key of " + std::to_string(session().rank());
  EXPECT_FALSE(store.check({mine}));
  store.set(mine, std::string(100000, 'x') + std::string(1, '\0'));
  EXPECT_TRUE(store.check({mine}));
  EXPECT_EQ(store.get(mine).size(), 100001u);
  EXPECT_EQ(store.compareSet(mine, "not this", "new").size(), 100001u);
  store.set(mine, "old");
  EXPECT_EQ(store.compareSet(mine, "old", "new"), "new");
  EXPECT_GE(store.getNumKeys(), session().size());
  session().control().barrier();
  const int next = (session().rank() + 1) % session().size();
  EXPECT_EQ(store.get_to_str("key of " + std::to_string(next)), "new");
  session().control().barrier();
  EXPECT_TRUE(store.deleteKey(mine));
  EXPECT_FALSE(store.deleteKey(mine));
  group.shut_down();
}

}  // namespace
}  // namespace cfm::parallel

int main(int argc, char** argv) { return cfm::test::run_mpi_tests(argc, argv); }
