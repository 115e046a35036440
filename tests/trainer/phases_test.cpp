#include "trainer/phases.h"

#include <numeric>
#include <thread>

#include "support/mpi_tests.h"
#include "support/simulated_gpu.h"

namespace cfm::trainer {
namespace {

using std::chrono::milliseconds;

constexpr size_t at(Phase phase) { return static_cast<size_t>(phase); }

// A sleep is at least as long as it is told: so much a phase has at least, and all of them no more than went by.
class Phases : public testing::Test {
 protected:
  static constexpr milliseconds kNap{30};
  static constexpr double kNapSeconds = 0.03;
  static void nap(int times = 1) { std::this_thread::sleep_for(times * kNap); }
  double gone_by() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count(); }
  static double sum(const PhaseSeconds& seconds) { return std::accumulate(seconds.begin(), seconds.end(), 0.0); }

  parallel::Watchdog watchdog_{test::session(), {}};
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

TEST_F(Phases, AreWhatLiesBetweenTheirEntries) {
  PhaseClock clock(watchdog_, c10::DeviceType::CPU);
  nap();  // of no phase
  const double before = gone_by();
  clock.enter(Phase::kData, 1);
  nap(2);
  clock.enter(Phase::kForward, 1);
  nap(1);
  clock.enter(Phase::kData, 1);
  nap(1);
  clock.handed_over();
  const double after = gone_by();
  nap(3);  // what is said of the step
  const PhaseSeconds seconds = clock.take();
  EXPECT_GE(seconds[at(Phase::kData)], 3 * kNapSeconds);
  EXPECT_GE(seconds[at(Phase::kForward)], kNapSeconds);
  EXPECT_LE(sum(seconds), after - before);
  EXPECT_EQ(sum(clock.take()), 0) << "taken is taken";
}

TEST_F(Phases, ASaveIsNotOfThePhaseThatItInterrupts) {
  PhaseClock clock(watchdog_, c10::DeviceType::CPU);
  {
    const PhaseClock::Visit between_steps(clock, Phase::kCheckpoint);
    const PhaseClock::Visit within(clock, Phase::kCheckpoint);
    nap(2);
  }
  nap(1);  // of no phase
  const double before = gone_by();
  clock.enter(Phase::kOptimizer, 1);
  nap(1);
  {
    const PhaseClock::Visit visit(clock, Phase::kCheckpoint);
    nap(3);
  }
  nap(1);
  const PhaseSeconds seconds = clock.take();
  const double step = gone_by() - before;
  EXPECT_GE(seconds[at(Phase::kCheckpoint)], 5 * kNapSeconds);
  EXPECT_GE(seconds[at(Phase::kOptimizer)], 2 * kNapSeconds);
  EXPECT_LE(seconds[at(Phase::kOptimizer)], step - 3 * kNapSeconds);
}

// A GPU does what its host has handed over, one after the other, and idles when there is nothing.
TEST_F(Phases, OfAGpuAreWhatItsWorkTakesAndNotItsHostsCalls) {
  test::SimulatedGpu& gpu = test::simulated_gpu();
  PhaseClock clock(watchdog_, gpu.device());
  for (const double scale : {1.0, 2.0}) {  // events are used again
    clock.enter(Phase::kData, 1);
    gpu.host_works(3 * scale);  // there is no batch: the GPU idles
    clock.enter(Phase::kTransfer, 1);
    gpu.hand_over(0.5 * scale);
    clock.enter(Phase::kForward, 1);
    gpu.hand_over(4 * scale);
    clock.enter(Phase::kData, 1);
    gpu.host_works(1 * scale);  // hidden behind forward
    clock.enter(Phase::kBackward, 1);
    gpu.hand_over(8 * scale);
    clock.enter(Phase::kAllReduce, 1);
    gpu.hand_over(2 * scale);
    clock.enter(Phase::kOptimizer, 1);
    gpu.host_waits();
    {
      const PhaseClock::Visit visit(clock, Phase::kCheckpoint);
      gpu.host_works(5 * scale);
    }
    gpu.hand_over(1 * scale);
    clock.enter(Phase::kEma, 1);
    gpu.hand_over(0.25 * scale);
    clock.handed_over();
    gpu.hand_over(7 * scale);  // of no phase
    const PhaseSeconds seconds = clock.take();
    const PhaseSeconds expected{3, 0.5, 4, 8, 2, 1, 0.25, 5};
    for (size_t p = 0; p < expected.size(); ++p) EXPECT_NEAR(seconds[p], scale * expected[p], 1e-9) << kPhaseNames[p];
    EXPECT_EQ(gpu.behind(), 0) << "what was not waited for cannot be told";
    EXPECT_EQ(sum(clock.take()), 0) << "taken is taken";
  }
}

TEST_F(Phases, OfAGpuAreTakenWithTheSaveBetweenTwoSteps) {
  test::SimulatedGpu& gpu = test::simulated_gpu();
  PhaseClock clock(watchdog_, gpu.device());
  {
    const PhaseClock::Visit visit(clock, Phase::kCheckpoint);
    gpu.host_works(2);
  }
  gpu.host_works(1);  // of no phase
  clock.enter(Phase::kForward, 2);
  gpu.hand_over(4);
  const PhaseSeconds seconds = clock.take();
  EXPECT_NEAR(seconds[at(Phase::kCheckpoint)], 2, 1e-9);
  EXPECT_NEAR(seconds[at(Phase::kForward)], 4, 1e-9);
  EXPECT_NEAR(sum(seconds), 6, 1e-9);
}

}  // namespace
}  // namespace cfm::trainer

int main(int argc, char** argv) { return cfm::test::run_mpi_tests(argc, argv); }
