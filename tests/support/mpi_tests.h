#pragma once
// The main of a GoogleTest binary that runs under mpirun: rank 0 prints as usual, other ranks print their failures
// only, and a failure or an exception on any rank fails the run.

#include <gtest/gtest.h>

#include <cstdio>
#include <string>

#include "parallel/mpi_session.h"

namespace cfm::test {

// Set by run_mpi_tests for the time of the tests.
inline const parallel::MpiSession*& session_slot() {
  static const parallel::MpiSession* slot = nullptr;
  return slot;
}
inline const parallel::MpiSession& session() { return *session_slot(); }

class FailuresOnly : public testing::EmptyTestEventListener {
 public:
  explicit FailuresOnly(int rank) : rank_(rank) {}
  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (!result.failed()) return;
    const std::string text = "rank " + std::to_string(rank_) + ": " + (result.file_name() ? result.file_name() : "") +
                             ":" + std::to_string(result.line_number()) + ": " + result.message() + "\n";
    std::fputs(text.c_str(), stderr);
  }

 private:
  int rank_;
};

inline int run_mpi_tests(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  GTEST_FLAG_SET(catch_exceptions, false);  // an exception ends all ranks: the others would wait for this one
  return parallel::run_mpi_main(argc, argv, [](parallel::MpiSession& mpi) {
    session_slot() = &mpi;
    if (mpi.rank() != 0) {
      testing::TestEventListeners& listeners = testing::UnitTest::GetInstance()->listeners();
      delete listeners.Release(listeners.default_result_printer());
      listeners.Append(new FailuresOnly(mpi.rank()));
    }
    const bool failed = RUN_ALL_TESTS() != 0;
    session_slot() = nullptr;
    return mpi.control().any(failed) ? ExitCode::kRetry : ExitCode::kDone;
  });
}

}  // namespace cfm::test
