// Each test starts with the cores that this process was given, and no OMP_NUM_THREADS.

#include "parallel/threads.h"

#include <ATen/Parallel.h>
#include <sched.h>

#include <algorithm>
#include <cstdlib>

#include "support/mpi_tests.h"

namespace cfm::parallel {
namespace {

using test::session;

class Threads : public testing::Test {
 protected:
  void SetUp() override {
    ::unsetenv("OMP_NUM_THREADS");
    ASSERT_EQ(::sched_getaffinity(0, sizeof given_, &given_), 0);
  }
  void TearDown() override { ::sched_setaffinity(0, sizeof given_, &given_); }

  int cores() const { return CPU_COUNT(&given_); }
  // Binds this rank to the first of its cores.
  void bind_to_one_core() const {
    int core = 0;
    while (!CPU_ISSET(core, &given_)) ++core;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(core, &one);
    ASSERT_EQ(::sched_setaffinity(0, sizeof one, &one), 0);
  }

  cpu_set_t given_{};
};

TEST_F(Threads, RanksOnTheSameCoresShareThem) {
  const int expected = std::max(1, cores() / session().size());
  EXPECT_EQ(use_threads(session(), 0), expected);
  EXPECT_EQ(at::get_num_threads(), expected);
}

TEST_F(Threads, ARankThatIsBoundElsewhereTakesNothingFromTheOthers) {
  if (session().rank() > 0) bind_to_one_core();
  const bool alone = cores() > 1 && session().rank() == 0;  // on one core there is nothing to bind elsewhere
  const int threads = use_threads(session(), 0);
  EXPECT_EQ(threads, alone ? cores() : 1);
}

TEST_F(Threads, ANumberThatWasAskedForGoesBeforeAll) {
  EXPECT_EQ(use_threads(session(), 3), 3);
  EXPECT_EQ(at::get_num_threads(), 3);
}

}  // namespace
}  // namespace cfm::parallel

int main(int argc, char** argv) { return cfm::test::run_mpi_tests(argc, argv); }
