// What a run's numbers become, in the text that Prometheus reads.

#include "trainer/run_metrics.h"

#include <sys/resource.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <ctime>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/durable_file.h"
#include "support/file_bytes.h"
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
  // The step of two ranks, whose reports are joined by hand as the step's reduction joins them.
  void step(const StepMeasure& first, const StepMeasure& second, double images_per_second, double eta_seconds) {
    parallel::StepReport both = to_report(first, false, 0, 2);
    const parallel::StepReport other = to_report(second, false, 1, 2);
    std::ranges::transform(both.sums, other.sums, both.sums.begin(), std::plus());
    std::ranges::transform(both.maxima, other.maxima, both.maxima.begin(), std::ranges::max);
    metrics_->step(first, over_ranks({false, both.sums, both.maxima}, 2), images_per_second, eta_seconds);
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

  void expect(const std::vector<std::pair<std::string, double>>& values) const {
    for (const auto& [series, expected] : values) EXPECT_EQ(value(series), expected) << series;
  }
  static double now() {
    return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
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
  const double age = now() - value("cfm_start_time_seconds");
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

TEST_F(RunsMetrics, TellOfAStepWhatItWasOverAllRanks) {
  begin({}, {.step = 10, .images_seen = 80});
  expect({{"cfm_last_step", 1000}, {"cfm_ranks", 1}});
  StepMeasure first{.losses = {.sum = 24}, .step_seconds = 2, .gradient_norm = 0.75, .lr = 3e-4, .step = 11};
  StepMeasure second = first;
  second.losses.sum = 8;
  second.step_seconds = 2.5;
  first.phase_seconds = {0.25, 0, 0.5, 0.5, 0.5, 0, 0, 0};
  second.phase_seconds = {0.75, 0, 0.5, 1, 0.25, 0, 0, 0};
  step(first, second, 3.25, 791);
  EXPECT_EQ(value("cfm_step"), 11);
  EXPECT_EQ(value("cfm_loss"), 4) << "32 in all, of 8 images";
  expect({{"cfm_gradient_norm", 0.75},
          {"cfm_learning_rate", 3e-4},
          {"cfm_images_per_second", 3.25},
          {"cfm_eta_seconds", 791},
          {"cfm_step_seconds", 2.5},
          {"cfm_images_seen", 88},
          {"cfm_images_total", 8},
          {"cfm_steps_total", 1},
          {"cfm_phase_seconds{over=\"min\",phase=\"data\"}", 0.25},
          {"cfm_phase_seconds{over=\"mean\",phase=\"data\"}", 0.5},
          {"cfm_phase_seconds{over=\"max\",phase=\"data\"}", 0.75},
          {"cfm_slowest_rank", 1}});
  // 2.25 s without the waiting for others, the other 1.25 s.
  EXPECT_NEAR(value("cfm_slowest_rank_lag_ratio"), 2.25 / 1.75 - 1, 1e-6);
}

TEST_F(RunsMetrics, CountSkippedUpdatesSavesAndThoseThatFailed) {
  begin();
  for (const char* counter :
       {"cfm_skipped_updates_total", "cfm_checkpoints_total", "cfm_checkpoint_failures_total", "cfm_steps_total"})
    EXPECT_EQ(value(counter), 0) << counter;
  EXPECT_EQ(value("cfm_phase_seconds_total{phase=\"backward\"}"), 0);
  step({.step = 1, .skipped = true});
  step({.step = 2});
  expect({{"cfm_steps_total", 2}, {"cfm_skipped_updates_total", 1}});
  metrics_->checkpoint_failed();
  expect({{"cfm_checkpoint_failures_total", 1}, {"cfm_checkpoints_total", 0}});
  EXPECT_EQ(value("cfm_checkpoint_step"), 0) << "where it began";
  const std::filesystem::path saved = folder_ / "run/checkpoints/step_000000002";
  std::filesystem::create_directories(saved);
  test::put_bytes(saved / "model.safetensors", std::string(1000, 'w'));
  test::put_bytes(saved / "manifest.json", std::string(24, 'm'));
  const double before = now();
  metrics_->checkpoint(2, 12.5, 0.25);
  expect({{"cfm_checkpoint_step", 2},
          {"cfm_checkpoint_seconds", 12.5},
          {"cfm_checkpoint_stall_seconds", 0.25},
          {"cfm_checkpoint_bytes", 1024},
          {"cfm_checkpoints_total", 1},
          {"cfm_checkpoint_failures_total", 1}});
  EXPECT_GE(value("cfm_checkpoint_time_seconds"), before - 1e-3);
  EXPECT_LE(value("cfm_checkpoint_time_seconds"), now() + 1e-3);
}

TEST_F(RunsMetrics, TellHeldOutLossesOfEachSetOfWeightsByTime) {
  begin();
  ValidationLoss raw{.mean = 0.5}, averaged{.mean = 0.25};
  raw.by_time = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
  averaged.by_time[9] = 0.125;
  metrics_->validation(40, "raw", raw);
  metrics_->validation(40, "ema_0.9", averaged);
  expect({{"cfm_validation_step", 40},
          {"cfm_validation_loss{weights=\"raw\"}", 0.5},
          {"cfm_validation_loss{weights=\"ema_0.9\"}", 0.25},
          {"cfm_validation_loss_by_time{bin=\"7\",weights=\"raw\"}", 7},
          {"cfm_validation_loss_by_time{bin=\"9\",weights=\"ema_0.9\"}", 0.125}});
}

// Against what the kernel says elsewhere.
TEST_F(RunsMetrics, LookAtTheProcessAndTheDisk) {
  begin();
  const std::string here = "{node=\"" + test::session().host() + "\"", rank = here + ",rank=\"0\"}", node = here + "}";
  const double burnt = value("cfm_rank_cpu_seconds_total" + rank);
  while (double(std::clock()) / CLOCKS_PER_SEC < burnt + 1.5) {
  }
  metrics_->look();
  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  const double cpu = double(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
                     1e-6 * double(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
  EXPECT_NEAR(value("cfm_rank_cpu_seconds_total" + rank), cpu, 0.3);
  EXPECT_EQ(value("cfm_node_cpu_seconds_total" + node), value("cfm_rank_cpu_seconds_total" + rank));
  const double bytes = value("cfm_rank_resident_bytes" + rank);
  EXPECT_GT(bytes, 1e7);
  EXPECT_LE(bytes, 1024.0 * double(used.ru_maxrss));
  EXPECT_EQ(value("cfm_node_resident_bytes" + node), bytes);
  struct statvfs disk {};
  ASSERT_EQ(::statvfs(config_.run_dir.c_str(), &disk), 0);
  EXPECT_NEAR(value("cfm_disk_free_bytes"), double(disk.f_bavail) * double(disk.f_frsize), 1e9);
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
