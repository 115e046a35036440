#include "trainer/train.h"

#include "data/loader.h"
#include "parallel/device.h"
#include "parallel/gradient_reducer.h"
#include "parallel/process_group.h"
#include "parallel/step_control.h"
#include "parallel/threads.h"
#include "parallel/watchdog.h"
#include "trainer/batch.h"
#include "trainer/checkpoints.h"
#include "trainer/coupled_noise.h"
#include "trainer/guard.h"
#include "trainer/last_bits.h"
#include "trainer/look.h"
#include "trainer/loss_by_time.h"
#include "trainer/open_data.h"
#include "trainer/phases.h"
#include "trainer/prepare.h"
#include "trainer/report.h"
#include "trainer/resume.h"
#include "trainer/run_metrics.h"
#include "trainer/run_state.h"
#include "trainer/start_weights.h"
#include "trainer/step.h"
#include "trainer/stopwatch.h"

namespace cfm::trainer {

ExitCode train(const TrainConfig& asked, const parallel::MpiSession& session, const StopSignal& stop,
               data::Hdf5Process& hdf5) {
  // ---- the machine, the data, and a configuration that knows the data's shape ----
  check_ranks(asked, session);
  parallel::Watchdog watchdog(session, watchdog_config(asked));
  const c10::Device device = parallel::choose_device(session, asked.device);
  parallel::use_exact_float32();
  const int threads = parallel::use_threads(session, asked.threads);
  prepare_run_dir(asked, session);
  const std::unique_ptr<Lease> lease = own_run(asked, session, stop);
  RunMetrics metrics(asked, session);  // from here on the job is found
  const OpenedData data = open_data(asked, session, stop, hdf5);
  const TrainConfig config = fitted_to_data(asked, data);
  const flow::DrawConfig draws = draw_config(config);
  data::Fingerprint fingerprint = data.train.fingerprint();

  // ---- weights, averages, moments: from the newest checkpoint, or fresh ----
  metrics.stage(Stage::kWeights);
  RunState state = agreed(session, [&] { return fresh_state(config, device); });
  checkpoint::Store store(store_config(config, lease.get(), session.failures()), session);
  const checkpoint::Metadata bits = last_bits(session, device, threads);
  const auto resumed = resume(state, config, fingerprint, bits, store, session);  // what has changed since
  if (!resumed) start_from_weights(state, config, session);
  checkpoint::Progress& at = state.at;

  // ---- gradients over ranks, batches ahead, what is said and looked at ----
  parallel::ProcessGroup group(session, device, collective_timeout(config));
  parallel::GradientReducer reducer(state.parameters, group);
  const data::LoaderConfig loading = loader_config(config, data, session, device);
  const auto noise = std::make_shared<CoupledNoise>(draws, config.coupling, data.train, loading);
  data::Loader loader(data.train, loading, at.step, at.images_seen, draw_maker(draws, config.global_batch, noise));
  parallel::StepControl control(session);
  Report report(config, session, metrics);
  report.start(state, resumed, data, models::parameter_count(*state.net), threads, device);
  PhaseClock phases(watchdog, device);
  Checkpoints checkpoints(state, config, fingerprint, bits, store, report, watchdog, phases);
  HeldOutLook look(state, config, data, report, session, device);

  const StepTools tools{config, session, device, draws, state, reducer, loader, phases};
  StepMeasure measure;  // of the step before, while its report is under way
  const auto hear = [&] {
    const parallel::StepSummary all = control.collect();
    refuse_lost_run(is_run_lost(all), config.run_dir, measure.step, session.failures());
    return report.step(measure, checkpoints.hear(measure.step, all));
  };
  int64_t skipped = 0;
  bool stopping = false;
  const int64_t first_step = at.step + 1;

  while (at.step < config.steps && !stopping) {
    // shard -> batch -> velocity -> loss -> gradient over ranks -> guard -> optimizer -> averages (trainer/step.cpp)
    const Stopwatch watch;
    const StepMade made = make_step(tools, [&] { checkpoints.await_copy(); });
    skipped = made.skipped ? skipped + 1 : 0;

    // what all ranks know of the step before; a request to stop is met by all after the same step
    if (control.pending()) stopping = hear();
    measure = {.losses = on_host(made.loss_sum, made.loss_by_time),
               .data_wait_seconds = loader.take_wait_seconds(),
               .step_seconds = watch.seconds(),
               .phase_seconds = phases.take(),
               .gradient_norm = made.gradient_norm,
               .lr = made.lr,
               .averaged_updates = made.averaged_updates,
               .step = at.step,
               .skipped = made.skipped,
               .checkpoint_written = checkpoints.written(),
               .run_lost = lease && lease->lost(),
               .gpu_memory = parallel::gpu_memory(device)};
    control.post(to_report(measure, stop.raised() != 0, session.rank(), session.size()));
    // now: whoever watches the start waits for it
    if (at.step == first_step) stopping = hear();
    refuse_endless_skipping(skipped, config.max_skipped, at.step);

    // checkpoint, written while training goes on; a look at held-out images and samples
    checkpoints.take(at.step == config.steps || stopping);
    look.take(watchdog, stop);
  }

  if (control.pending()) hear();
  report.end(at, stopping && at.step < config.steps, stop.raised());
  watchdog.stop();
  group.shut_down();
  return at.step < config.steps ? ExitCode::kRequeue : ExitCode::kDone;
}

}  // namespace cfm::trainer
