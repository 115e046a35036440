// What a run's metrics cost the training thread, in every step (losses by time, the report over ranks and all series;
// not the clock readings between phases, nor the reduction that the report goes along with), and when it looks at the
// system and at RUN_DIR/results; and the process's CPU seconds for scrapes that others make. For bench/metrics.py:
// prints a line of JSON, then, for each line it reads, its CPU seconds so far.
//   bench_metrics RUN_DIR STEPS

#include <ATen/ops/full.h>
#include <ATen/ops/rand.h>

#include <chrono>
#include <cstdio>
#include <ctime>
#include <iostream>
#include <string>

#include "parallel/mpi_session.h"
#include "trainer/run_metrics.h"

namespace {

double cpu_seconds() {
  timespec time{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

constexpr int kLooks = 200;

// Seconds of a call, in the mean.
template <class Work>
double seconds_of(int64_t calls, const Work& work) {
  const auto start = std::chrono::steady_clock::now();
  for (int64_t call = 1; call <= calls; ++call) work(call);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / static_cast<double>(calls);
}

cfm::ExitCode measure(const cfm::parallel::MpiSession& session, const std::string& run_dir, int64_t steps) {
  using cfm::trainer::StepMeasure;
  cfm::trainer::TrainConfig config;
  config.run_dir = run_dir;
  config.metrics_targets = run_dir;
  config.global_batch = 128;
  config.steps = steps;
  cfm::trainer::RunMetrics metrics(config, session);
  metrics.start({}, 1, 1297, {});
  cfm::trainer::ValidationLoss loss;
  for (const char* weights : {"raw", "ema_0.9999"}) metrics.validation(0, weights, loss);
  metrics.checkpoint(0, 1, 0.1);
  StepMeasure measure{.step_seconds = 0.2};
  const at::Tensor losses = at::full({config.global_batch}, 0.5), times = at::rand({config.global_batch});
  const double step_seconds = seconds_of(steps, [&](int64_t step) {
    measure.losses = cfm::trainer::on_host(losses.sum(), cfm::trainer::losses_by_time(losses, times, 1));
    measure.step = step;
    const auto report = cfm::trainer::to_report(measure, false, 0, 1);
    metrics.step(measure, cfm::trainer::over_ranks({false, report.sums, report.maxima}, 1), 600, 100);
  });
  const double look_seconds = seconds_of(kLooks, [&](int64_t) { metrics.look(); });
  std::printf("{\"nanoseconds_a_step\": %.1f, \"look_seconds\": %.9f, \"look_every\": %.1f}\n", 1e9 * step_seconds,
              look_seconds, cfm::trainer::RunMetrics::kLookEvery);
  std::fflush(stdout);
  for (std::string line; std::getline(std::cin, line);) {
    std::printf("%.9f\n", cpu_seconds());
    std::fflush(stdout);
  }
  return cfm::ExitCode::kDone;
}

}  // namespace

int main(int argc, char** argv) {
  return cfm::parallel::run_mpi_main(argc, argv, [&](cfm::parallel::MpiSession& session) {
    cfm::check(argc == 3, "usage: bench_metrics RUN_DIR STEPS");
    return measure(session, argv[1], std::stoll(argv[2]));
  });
}
