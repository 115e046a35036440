#include "parallel/step_control.h"

#include <cmath>

#include "support/mpi_tests.h"

namespace cfm::parallel {
namespace {

using test::session;

TEST(StepControl, SumsAreAddedInRankOrderAndMaximaTaken) {
  StepControl control(session());
  const int rank = session().rank(), size = session().size();
  for (int step = 0; step < 5; ++step) {
    control.post({.sums = {rank == 0 ? 1e16 : 1.0, static_cast<double>(step)}, .maxima = {static_cast<double>(rank)}});
    const StepSummary summary = control.collect();
    double expected = 1e16;
    for (int r = 1; r < size; ++r) expected += 1.0;
    EXPECT_EQ(summary.sums, (std::vector<double>{expected, static_cast<double>(step * size)}));
    EXPECT_EQ(summary.maxima, (std::vector<double>{static_cast<double>(size - 1)}));
    EXPECT_FALSE(summary.stop_requested);
  }
}

TEST(StepControl, AStopOfOneRankIsSeenByAllOneStepLater) {
  StepControl control(session());
  std::vector<int> seen;
  for (int step = 0; step < 6; ++step) {
    if (control.pending() && control.collect().stop_requested) seen.push_back(step);
    control.post({.stop_requested = step == 3 && session().rank() == session().size() - 1});
  }
  control.collect();
  EXPECT_EQ(seen, std::vector<int>{4});
}

TEST(StepControl, IsReadyOnceAllRanksHavePostedAndNotBefore) {
  StepControl control(session());
  control.post({});
  control.collect();
  const bool late = session().rank() == session().size() - 1 && session().size() > 1;
  if (!late) control.post({});
  EXPECT_FALSE(!late && session().size() > 1 && control.ready());
  session().control().barrier();
  if (late) control.post({});
  while (!control.ready()) continue;
  EXPECT_TRUE(control.pending());
  control.collect();
  EXPECT_FALSE(control.pending());
}

TEST(StepControl, ANanOnOneRankIsNanOnAll) {
  StepControl control(session());
  const double value = session().rank() == session().size() - 1 ? std::nan("") : 3.0;
  control.post({.sums = {value}, .maxima = {value}});
  const StepSummary summary = control.collect();
  EXPECT_TRUE(std::isnan(summary.sums[0]));
  EXPECT_TRUE(std::isnan(summary.maxima[0]));
}

TEST(StepControl, RefusesAReportOfAnotherLength) {
  StepControl control(session());
  control.post({.sums = {1.0}});
  control.collect();
  EXPECT_THROW(control.post({.sums = {1.0, 2.0}}), Error);
}

TEST(StepControlOnSeveralRanks, RefusesRanksThatReportDifferentThings) {
  StepControl control(session());
  EXPECT_THROW(control.post({.sums = std::vector<double>(session().rank() == 0 ? 1 : 2)}), SharedError);
}

}  // namespace
}  // namespace cfm::parallel

int main(int argc, char** argv) { return cfm::test::run_mpi_tests(argc, argv); }
