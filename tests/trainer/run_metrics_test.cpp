// What a run's numbers become, in the text that Prometheus reads.

#include "trainer/run_metrics.h"

#include <chrono>
#include <cmath>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/durable_file.h"
#include "support/http.h"
#include "support/mpi_tests.h"
#include "support/scratch_directory.h"

namespace cfm::trainer {
namespace {

// A run of one rank that nobody trains: the numbers are made up. Its endpoint is read.
class RunsMetrics : public testing::Test {
 protected:
  RunsMetrics() {
    config_.run_dir = (folder_ / "run").string();
    config_.metrics_targets = (folder_ / "targets").string();
    config_.steps = 1000;
    config_.global_batch = 8;
    config_.ema.decays = {0.9, 0.9999};
    std::filesystem::create_directories(folder_ / "run");
  }
  void begin(const metrics::History& before = {}, const checkpoint::Progress& at = {}) {
    metrics_ = std::make_unique<RunMetrics>(config_, test::session());
    metrics_->start(at, 3, 64, before);
  }
  void step(const StepMeasure& measure) {
    const parallel::StepReport report = to_report(measure, false, 0, 1);
    metrics_->step(measure, over_ranks({false, report.sums, report.maxima}, 1), 100, 10);
  }
  std::string text() const {
    for (const auto& entry : std::filesystem::directory_iterator(config_.run_dir))
      if (entry.path().extension() == ".address") {
        const std::string address = read_file(entry.path());
        return test::body_of(test::http_get(std::stoi(address.substr(address.rfind(':') + 1)), "/metrics"));
      }
    return "";
  }
  // The value of `series`, "cfm_step" or "cfm_ema_decay{decay=\"0.9\"}"; NaN if it is not there.
  double value(const std::string& series) const {
    const size_t brace = series.find('{');
    const std::string labels = brace == std::string::npos ? "run=\"run\"}" : "run=\"run\"," + series.substr(brace + 1);
    const std::string line = "\n" + series.substr(0, brace) + "{" + labels + " ", all = "\n" + text();
    const size_t found = all.find(line);
    return found == std::string::npos ? std::nan("") : std::stod(all.substr(found + line.size()));
  }

  tests::ScratchDirectory folder_;
  TrainConfig config_;
  std::unique_ptr<RunMetrics> metrics_;
};

TEST_F(RunsMetrics, AreThereBeforeTrainingAndSayWhatTheStartIsAt) {
  metrics_ = std::make_unique<RunMetrics>(config_, test::session());
  const auto stages = [this] {
    return std::vector<double>{value("cfm_stage{stage=\"data\"}"), value("cfm_stage{stage=\"weights\"}"),
                               value("cfm_stage{stage=\"training\"}")};
  };
  EXPECT_FALSE(std::filesystem::is_empty(folder_ / "targets"));
  EXPECT_EQ(stages(), (std::vector<double>{1, 0, 0}));
  EXPECT_EQ(value("cfm_node_ranks{node=\"" + test::session().host() + "\"}"), 1);
  EXPECT_TRUE(std::isnan(value("cfm_step"))) << "not known yet";
  metrics_->stage(Stage::kWeights);
  EXPECT_EQ(stages(), (std::vector<double>{0, 1, 0}));
  metrics_->start({}, 1, 64, {});
  EXPECT_EQ(stages(), (std::vector<double>{0, 0, 1}));
  EXPECT_EQ(value("cfm_step"), 0);
}

// The decays by hand: an average of a thousand updates is young beside 0.9999, old beside 0.9.
TEST_F(RunsMetrics, FollowTheAveragesDecaysAsTheyWarmUp) {
  begin();
  step({.averaged_updates = 0, .step = 1});
  EXPECT_NEAR(value("cfm_ema_decay{decay=\"0.9\"}"), 0.1, 1e-12);
  EXPECT_NEAR(value("cfm_ema_decay{decay=\"0.9999\"}"), 0.1, 1e-12);
  step({.averaged_updates = 990, .step = 2});
  EXPECT_NEAR(value("cfm_ema_decay{decay=\"0.9\"}"), 0.9, 1e-12);
  EXPECT_NEAR(value("cfm_ema_decay{decay=\"0.9999\"}"), 0.991, 1e-12);
  step({.averaged_updates = 5, .step = 3, .skipped = true});
  EXPECT_NEAR(value("cfm_ema_decay{decay=\"0.9999\"}"), 0.991, 1e-12) << "nothing was averaged";
}

// Of a process that has been there for years, as steps of years show.
TEST_F(RunsMetrics, CountAsGoodTheStepsWhoseUpdateWasMade) {
  begin();
  constexpr double kYears = 1e8;
  step({.step_seconds = kYears, .step = 1, .skipped = true});
  EXPECT_EQ(value("cfm_goodput_ratio"), 0);
  step({.step_seconds = kYears, .step = 2});
  const double age = std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count() -
                     value("cfm_start_time_seconds");
  EXPECT_GT(age, 0);
  // The age when it was told lies between nothing and the age now.
  EXPECT_GE(value("cfm_goodput_ratio"), kYears / age);
}

TEST_F(RunsMetrics, OfARunThatLogsNoStepsCountThem) {
  config_.log_every = 0;
  begin();
  step({.step_seconds = 1, .step = 1});
  EXPECT_EQ(value("cfm_step"), 1);
}

TEST_F(RunsMetrics, TellWhatTheStartBeforeHasLost) {
  begin({.losses = {}, .lost_steps = 30, .lost_seconds = 12.5}, {.step = 20, .images_seen = 160});
  EXPECT_EQ(value("cfm_lost_steps"), 30);
  EXPECT_EQ(value("cfm_lost_seconds"), 12.5);
  EXPECT_EQ(value("cfm_attempt"), 3);
  EXPECT_EQ(value("cfm_images_seen"), 160);
  EXPECT_EQ(value("cfm_epoch"), 2.5);
}

TEST_F(RunsMetrics, TellEachPhaseAndItsSum) {
  begin();
  StepMeasure measure{.step = 1};
  measure.phase_seconds = {0.5, 0.125, 1, 1.75, 0.25, 0.25, 0.125, 4};
  step(measure);
  measure.phase_seconds[static_cast<size_t>(Phase::kCheckpoint)] = 0;
  step(measure);
  EXPECT_EQ(value("cfm_phase_seconds_total{phase=\"backward\"}"), 3.5);
  EXPECT_EQ(value("cfm_phase_seconds_total{phase=\"all_reduce\"}"), 0.5);
  EXPECT_EQ(value("cfm_phase_seconds_total{phase=\"checkpoint\"}"), 4);
  EXPECT_EQ(value("cfm_phase_seconds{over=\"max\",phase=\"checkpoint\"}"), 0);
  EXPECT_EQ(value("cfm_slowest_rank"), 0);
}

}  // namespace
}  // namespace cfm::trainer

int main(int argc, char** argv) { return cfm::test::run_mpi_tests(argc, argv); }
