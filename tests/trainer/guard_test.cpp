#include "trainer/guard.h"

#include <ATen/ops/full.h>

#include <cmath>

#include "parallel/step_control.h"
#include "support/mpi_tests.h"
#include "support/scratch_directory.h"
#include "trainer/step_measure.h"

namespace cfm::trainer {
namespace {

using test::session;

TEST(AgreedGradientNorm, IsRankZerosOnEveryRankWhateverTheirOwnWouldBe) {
  // 4 ones and a rank that is off by a little: as another instruction set would be.
  const double off = session().rank() * 1e-6;
  EXPECT_EQ(agreed_gradient_norm({at::full({4}, 1 + off)}, session()), 2.0);
}

TEST(AgreedGradientNorm, NotFiniteOnRankZeroIsNotFiniteOnAll) {
  const double value = session().rank() == 0 ? std::nan("") : 1;
  EXPECT_TRUE(std::isnan(agreed_gradient_norm({at::full({4}, value)}, session())));
}

TEST(FiniteOrNan, PoisonsTheWeightOfALossThatIsNotFinite) {
  EXPECT_EQ(finite_or_nan(0.25, at::full({}, 3.0)).item<double>(), 0.25);
  EXPECT_TRUE(std::isnan(finite_or_nan(0.25, at::full({}, INFINITY)).item<double>()));
}

TEST(LostRun, EndsTheRunOnEveryRankIfOneSaysSo) {
  StepMeasure measure;
  measure.run_lost = session().rank() == 0;
  const int size = session().size();
  for (const bool lost : {true, false}) {
    if (!lost) measure.run_lost = false;
    parallel::StepControl control(session());
    control.post(to_report(measure, false, session().rank(), size));
    const bool known = is_run_lost(control.collect());
    EXPECT_EQ(known, lost);
  }
}

TEST(LostRun, IsRefusedAndItsFailuresAreTheOtherJobs) {
  const tests::ScratchDirectory folder;
  parallel::FailureLog failures(0, "n1");
  failures.write_to(folder.path() / "failures.jsonl");
  EXPECT_NO_THROW(refuse_lost_run(false, "runs/digits", 7, failures));
  EXPECT_TRUE(failures.writes());
  EXPECT_THROW(refuse_lost_run(true, "runs/digits", 7, failures), SharedError);
  failures.record("error", "lost", failures.here(), ExitCode::kWontWork);
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "failures.jsonl"));
}

TEST(EndlessSkipping, EndsTheRunAtTheLimitAndNotBefore) {
  EXPECT_NO_THROW(refuse_endless_skipping(9, 10, 100));
  EXPECT_THROW(refuse_endless_skipping(10, 10, 100), SharedError);
}

}  // namespace
}  // namespace cfm::trainer

int main(int argc, char** argv) { return cfm::test::run_mpi_tests(argc, argv); }
