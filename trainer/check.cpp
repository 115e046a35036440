#include "trainer/check.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <memory>
#include <optional>

#include "base/log.h"
#include "base/number_text.h"
#include "checkpoint/store.h"
#include "metrics/progress.h"
#include "parallel/device.h"
#include "parallel/process_group.h"
#include "parallel/threads.h"
#include "parallel/watchdog.h"
#include "trainer/batch.h"
#include "trainer/check_place.h"
#include "trainer/check_table.h"
#include "trainer/coupled_noise.h"
#include "trainer/last_bits.h"
#include "trainer/open_data.h"
#include "trainer/prepare.h"
#include "trainer/resume.h"
#include "trainer/start_weights.h"
#include "trainer/step.h"
#include "trainer/stopwatch.h"

namespace cfm::trainer {
namespace {

constexpr int kWarmUp = 2, kFewest = 3, kMost = 20;  // steps
constexpr double kMeasured = 10;                     // seconds of steps, within these limits

std::string seconds_text(double seconds) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.3g s", seconds);
  return text.data();
}

// Of the slowest rank, in seconds.
struct Times {
  std::vector<double> steps;
  double data_wait = 0;  // a step
  double loader = 0;     // a step's batches, while no step is made
};

void leave_on_signal(const parallel::MpiSession& session, const StopSignal& stop) {
  if (session.control().any(stop.raised() != 0))
    throw SharedError("stopped by a signal during --check", ExitCode::kRequeue);
}

// What a start would go on from: the text of the newest manifest whose checkpoint is whole, empty if there is none; and
// what is damaged on the way to it. Reads every byte.
struct Whole {
  std::string json;
  Problems damage;
};
Whole newest_whole(const std::string& run_dir) {
  Whole found;
  int64_t below = checkpoint::kAnyStep;
  const auto hear = [&](int64_t step, const std::string& why) {
    found.damage.push_back(why);
    below = step;
  };
  for (;;) {
    found.json = checkpoint::newest_intact_manifest(run_dir, hear, below);
    if (found.json.empty()) return found;
    const checkpoint::Manifest manifest = checkpoint::manifest_from_json(found.json, "the manifest found");
    const int64_t step = manifest.progress.step;
    try {
      checkpoint::verify_checkpoint(checkpoint::checkpoints_folder(run_dir) / checkpoint::step_name(step), manifest);
      return found;
    } catch (const Error& error) {
      if (error.exit_code() != ExitCode::kWontWork) throw;  // unreadable for now is not damaged
      hear(step, error.what());
    }
  }
}

// The manifest that a start would go on from; nothing where it begins, or is refused. Collective.
std::optional<checkpoint::Manifest> check_checkpoints(CheckTable& table, const TrainConfig& config,
                                                      const parallel::MpiSession& session) {
  Whole found;
  std::string damage;
  const bool readable = table.attempt("resume", [&] {
    if (session.rank() != 0) return;
    found = newest_whole(config.run_dir);
    for (const std::string& each : found.damage) damage += (damage.empty() ? "" : "; ") + each;
    if (!found.json.empty()) return;
    check(damage.empty(), damage +
                              ". No other checkpoint is left: a start sets aside what is damaged and ends with "
                              "exit code 2. Repair it, or give another --run_dir.");
    checkpoint::refuse_damaged_ones_only(config.run_dir);
  });
  if (!readable) return {};
  found.json = session.control().broadcast(found.json);
  damage = session.control().broadcast(damage);
  if (found.json.empty()) {
    table.ok("resume", "no checkpoint yet: a start begins at step 0");
    return {};
  }
  auto manifest = checkpoint::manifest_from_json(found.json, "the newest manifest of the run");
  if (!damage.empty())
    table.warn("resume", damage + ". A start sets that aside and takes the checkpoint of step " +
                             std::to_string(manifest.progress.step) + ".");
  return manifest;
}

// What a resume would find and change. Returns where the run stands. Collective.
checkpoint::Progress check_resume(CheckTable& table, const TrainConfig& config, const data::Fingerprint& fingerprint,
                                  const checkpoint::Metadata& bits, const parallel::MpiSession& session) {
  const auto found = check_checkpoints(table, config, session);
  if (!found) return {};
  const checkpoint::Manifest& manifest = *found;
  const checkpoint::Progress at = manifest.progress;
  const std::string step = std::to_string(at.step);
  table.ok_if(at.step < config.steps, "resume",
              "from step " + step + " of " + std::to_string(config.steps) +
                  (at.step < config.steps ? "" : ": nothing is left to do; give more --steps"));
  table.attempt("resume", [&] { check_resumable(manifest, config, fingerprint); });
  for (const FlagChange& change : flag_changes(manifest, config)) {
    const std::string text =
        "--" + change.flag + " was " + change.then + ", is " + change.now + " (" + class_name(change.flag_class) + ")";
    if (change.flag == "init_from") {
      table.warn("resume", text_of(change, config));
    } else if (change.flag_class == FlagClass::kFree) {
      table.ok("resume", text);
    }
    if (change.flag_class == FlagClass::kContinuing) table.warn("resume", text + ": from step " + step + " on");
  }
  for (const auto& [name, now] : bits) {
    const auto then = manifest.last_bits.find(name);
    if (then != manifest.last_bits.end() && then->second != now)
      table.ok("resume", name + " was " + then->second + ", is " + now + ": other last bits");
  }
  return at;
}

// The batches of a few steps, drawn as fast as the loader gives them. Returns seconds a step.
double time_loader(data::Loader& loader, const parallel::MpiSession& session, const StopSignal& stop) {
  constexpr double kLongEnough = 2;  // seconds
  const auto draw_step = [&] {
    for (int64_t micro = 0; micro < loader.micro_batches_per_step(); ++micro) loader.next();
  };
  for (int ready = 0; ready < 3; ++ready) draw_step();  // those that were made ahead
  session.control().barrier();
  const Stopwatch watch;
  int steps = 0;
  while (steps < kMost && (steps < kFewest || watch.seconds() < kLongEnough) && stop.raised() == 0) {
    draw_step();
    ++steps;
  }
  return watch.seconds() / std::max(steps, 1);
}

// A few real steps; the state is thrown away.
Times time_steps(const StepTools& tools, const StopSignal& stop) {
  const parallel::MpiSession& session = tools.session;
  Times times;
  times.loader = time_loader(tools.loader, session, stop);
  int count = kFewest;
  for (int step = -kWarmUp; step < count; ++step) {
    leave_on_signal(session, stop);
    const Stopwatch watch;
    make_step(tools, [] {}).loss_sum.item<double>();  // waits for the device
    double seconds = watch.seconds();
    session.control().max({&seconds, 1});
    if (step == -1) {
      tools.loader.take_wait_seconds();
      count = static_cast<int>(std::clamp(std::ceil(kMeasured / seconds), double{kFewest}, double{kMost}));
    }
    if (step >= 0) times.steps.push_back(seconds);
  }
  times.data_wait = tools.loader.take_wait_seconds() / count;
  session.control().max({&times.data_wait, 1});
  session.control().max({&times.loader, 1});
  return times;
}

void tell_times(CheckTable& table, const TrainConfig& config, const checkpoint::Progress& at, Times times) {
  std::ranges::sort(times.steps);
  const double step = times.steps[times.steps.size() / 2];
  const double images = static_cast<double>(config.global_batch) / step;
  table.ok("step", seconds_text(step) + " (median of " + std::to_string(times.steps.size()) + " real steps; " +
                       seconds_text(times.steps.front()) + " to " + seconds_text(times.steps.back()) + "), " +
                       number_text(std::round(images * 10) / 10) + " images/s");
  const bool in_time = times.loader < 0.9 * step && times.data_wait < 0.05 * step;
  table.ok_if(in_time, "loader",
              "the batches of a step take " + seconds_text(times.loader) + " alone (" +
                  number_text(std::round(10 / times.loader) / 10) + " steps/s); a step waited for them " +
                  seconds_text(times.data_wait) +
                  (in_time ? "" : ": more --loader_threads, --data_mode=ram or --stage_dir may help"));
  const int64_t left = std::max<int64_t>(config.steps - at.step, 0);
  table.ok("forecast", std::to_string(left) + " steps take " +
                           metrics::duration_text(step * static_cast<double>(left)) +
                           "; held-out losses, samples and what checkpoints hold up come on top");
}

// Everything that needs data and network. Collective.
void check_training(CheckTable& table, const TrainConfig& asked, const parallel::MpiSession& session,
                    const StopSignal& stop, data::Hdf5Process& hdf5, parallel::Watchdog& watchdog, c10::Device device,
                    int threads) {
  std::optional<OpenedData> data;
  std::optional<TrainConfig> fitted;
  if (!table.attempt("data", [&] {
        data.emplace(open_data(asked, session, stop, hdf5));
        fitted = fitted_to_data(asked, *data);
      })) {
    table.warn("step", "not measured: there are no data");
    return;
  }
  const TrainConfig& config = *fitted;
  const data::Fingerprint fingerprint = data->train.fingerprint();
  table.ok("data", config.train_data + ": " + std::to_string(data->train.size()) + " images, fingerprint " +
                       fingerprint.text());
  table.ok("reading", data->train.access());

  const std::vector<checkpoint::Metadata> arithmetic = arithmetic_of_ranks(session, threads);
  for (const std::string& difference : differences_between_ranks(arithmetic)) table.warn("ranks", difference);
  checkpoint::Metadata bits = arithmetic[0];
  bits["ranks"] = std::to_string(session.size());
  const checkpoint::Progress at = check_resume(table, config, fingerprint, bits, session);

  std::optional<RunState> state;
  if (!table.attempt("network", [&] { state.emplace(fresh_state(config, device)); })) return;
  table.ok("network", std::to_string(models::parameter_count(*state->net)) + " parameters");
  if (at.step == 0 && !(config.init_from.empty() && config.branch_from.empty()) &&
      table.attempt("weights", [&] { start_from_weights(*state, config, session); }))
    table.ok("weights", "can be begun from");
  int64_t bytes = 0;
  for (const checkpoint::Part& part : parts_of(*state, config, fingerprint)) bytes += part.tensor_bytes();
  check_room(table, config, session, at.step, bytes);

  const flow::DrawConfig draws = draw_config(config);
  parallel::ProcessGroup group(session, device, collective_timeout(config));
  parallel::GradientReducer reducer(state->parameters, group);
  const data::LoaderConfig loading = loader_config(config, *data, session, device);
  const auto noise = std::make_shared<CoupledNoise>(draws, config.coupling, data->train, loading);
  data::Loader loader(data->train, loading, at.step, at.images_seen, draw_maker(draws, config.global_batch, noise));
  PhaseClock phases(watchdog, device);
  tell_times(table, config, at, time_steps({config, session, device, draws, *state, reducer, loader, phases}, stop));
  group.shut_down();
}

}  // namespace

ExitCode check_launch(const TrainConfig& config, const parallel::MpiSession& session, const StopSignal& stop,
                      data::Hdf5Process& hdf5) {
  CheckTable table(session);
  parallel::Watchdog watchdog(session, watchdog_config(config));
  std::optional<c10::Device> device;
  const bool has_device = table.attempt("device", [&] { device = parallel::choose_device(session, config.device); });
  parallel::use_exact_float32();
  const int threads = parallel::use_threads(session, config.threads);
  check_ranks_and_devices(table, config, session, device.value_or(c10::Device(c10::kCPU)), threads);
  check_folder(table, config, session);
  check_owner(table, config, session, stop);
  leave_on_signal(session, stop);
  if (has_device && session.size() <= config.global_batch)
    check_training(table, config, session, stop, hdf5, watchdog, *device, threads);
  watchdog.stop();

  std::string failed;
  for (const std::string& name : table.failed()) failed += (failed.empty() ? "" : ", ") + name;
  if (!failed.empty()) throw SharedError("--check: this launch would not work: " + failed + " (see FAIL above)");
  if (session.rank() == 0)
    say("check: this launch works" +
        (table.warnings() == 0 ? std::string() : "; warnings: " + std::to_string(table.warnings())));
  return ExitCode::kDone;
}

}  // namespace cfm::trainer
