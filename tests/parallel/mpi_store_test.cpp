#include "parallel/mpi_store.h"

#include <c10/util/Exception.h>

#include <thread>
#include <torch/csrc/distributed/c10d/Store.hpp>

#include "support/mpi_tests.h"

namespace cfm::parallel {
namespace {

using std::chrono::milliseconds;
using test::session;

// Rank 0 comes to its store when the other ranks' first request has been given up, and answers it then.
TEST(MpiStore, AnAnswerThatComesTooLateIsNotTakenForThatOfTheNextRequest) {
  constexpr milliseconds kTimeout(500);
  Communicator communicator = session().duplicate();
  if (session().rank() == 0) std::this_thread::sleep_for(3 * kTimeout);
  const auto store = make_mpi_store(std::move(communicator), kTimeout);
  const std::string mine = std::to_string(session().rank());
  if (session().rank() > 0) {
    EXPECT_THROW(store->add("late/" + mine, 5), c10::DistStoreError);
  }
  session().control().barrier();
  EXPECT_EQ(store->add("next/" + mine, 2), 2);
  EXPECT_EQ(store->add("next/" + mine, 2), 4);
  session().control().barrier();
  stop_answering(*store);
}

}  // namespace
}  // namespace cfm::parallel

int main(int argc, char** argv) { return cfm::test::run_mpi_tests(argc, argv); }
