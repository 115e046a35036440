#include "trainer/phases.h"

#include <numeric>
#include <set>
#include <string>
#include <thread>

#include "support/mpi_tests.h"

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

TEST_F(Phases, OfAGpuAreTheHostsOwnWaitsAndAllElse) {
  PhaseClock clock(watchdog_, c10::Device(c10::DeviceType::CUDA, 0));
  clock.enter(Phase::kData, 1);
  nap(1);
  clock.enter(Phase::kTransfer, 1);
  clock.enter(Phase::kForward, 1);
  nap(1);
  clock.enter(Phase::kOptimizer, 1);
  {
    const PhaseClock::Visit visit(clock, Phase::kCheckpoint);
    nap(1);
  }
  clock.enter(Phase::kEma, 1);
  clock.handed_over();
  nap(2);  // the host waits for the device
  const PhaseSeconds seconds = clock.take();
  EXPECT_GE(seconds[at(Phase::kData)], kNapSeconds);
  EXPECT_GE(seconds[at(Phase::kCheckpoint)], kNapSeconds);
  EXPECT_GE(seconds[at(Phase::kDevice)], 3 * kNapSeconds);
  EXPECT_LE(sum(seconds), gone_by());
  for (const Phase phase : {Phase::kTransfer, Phase::kForward, Phase::kOptimizer, Phase::kEma})
    EXPECT_EQ(seconds[at(phase)], 0) << kPhaseNames[at(phase)];
}

TEST_F(Phases, AreCalledByTheNamesOfTheirDevice) {
  const auto names = [](c10::DeviceType device) {
    std::set<std::string> all;
    for (size_t p = 0; p < kPhaseNames.size(); ++p)
      if (is_counted(static_cast<Phase>(p), device)) all.insert(kPhaseNames[p]);
    return all;
  };
  EXPECT_EQ(names(c10::DeviceType::CPU), (std::set<std::string>{"data", "transfer", "forward", "backward", "all_reduce",
                                                                "optimizer", "ema", "checkpoint"}));
  EXPECT_EQ(names(c10::DeviceType::CUDA), (std::set<std::string>{"data", "device", "checkpoint"}));
}

}  // namespace
}  // namespace cfm::trainer

int main(int argc, char** argv) { return cfm::test::run_mpi_tests(argc, argv); }
