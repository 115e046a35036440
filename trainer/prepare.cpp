#include "trainer/prepare.h"

#include <filesystem>

#include "base/durable_file.h"
#include "base/log.h"
#include "base/number_text.h"

namespace cfm::trainer {
void check_ranks(const TrainConfig& config, const parallel::MpiSession& session) {
  if (session.size() <= config.global_batch) return;
  throw SharedError("--global_batch=" + std::to_string(config.global_batch) + " on " + std::to_string(session.size()) +
                    " ranks: every rank needs at least one image a step; start fewer ranks or raise --global_batch");
}

void prepare_run_dir(const TrainConfig& config, const parallel::MpiSession& session) {
  parallel::agree_on(session, [&] {
    if (session.rank() != 0) return;
    std::error_code error;
    check(!std::filesystem::exists(config.run_dir, error) || std::filesystem::is_directory(config.run_dir, error),
          "--run_dir=" + config.run_dir + " is a file; expected a folder, or a name for a new one");
    check(!std::filesystem::equivalent(config.run_dir, config.train_data, error),
          "--run_dir=" + config.run_dir + " is the folder of --train_data: a run gets a folder of its own");
    std::filesystem::create_directories(config.run_dir, error);
    check(!error, "--run_dir=" + config.run_dir + " cannot be created: " + error.message());
    const std::filesystem::path probe = std::filesystem::path(config.run_dir) / ".writable";
    write_durably(probe, "");
    std::filesystem::remove(probe);
  });
}

std::unique_ptr<Lease> own_run(const TrainConfig& config, const parallel::MpiSession& session, const StopSignal& stop) {
  std::unique_ptr<Lease> lease;
  parallel::agree_on(session, [&] {
    if (session.rank() != 0) return;
    LeaseSeeker seeker(std::filesystem::path(config.run_dir) / "trainer.lease", lease_times(config.lease_seconds));
    lease = seeker.take_or_see_alive([&] { return stop.raised() != 0; },
                                     [&](const LeaseHolder& holder) {
                                       say("waiting    " + config.run_dir + " is held by " + holder.text() +
                                           ": it is taken over if that shows no life for " +
                                           number_text(config.lease_seconds) + " s");
                                     });
    if (lease) return;
    if (stop.raised() != 0) throw Error("stopped by a signal before the run began", ExitCode::kRequeue);
    throw Error("--run_dir=" + config.run_dir + " is trained by " + seeker.holder().text() +
                ", which is at work. Wait for its end or stop it, or give another --run_dir.");
  });
  return lease;
}

flow::DrawConfig draw_config(const TrainConfig& config) {
  return {.seed = config.seed,
          .path = config.flow_config.path,
          .times = config.times,
          .horizontal_flip = config.horizontal_flip,
          .label_drop = config.label_drop,
          .null_class = config.model.null_label()};
}

checkpoint::StoreConfig store_config(const TrainConfig& config, const Lease* lease) {
  return {.run_dir = config.run_dir,
          .keep_last = config.keep_last,
          .keep_every = config.keep_every,
          .still_owned = [lease] { return lease == nullptr || lease->held(); }};
}

parallel::WatchdogConfig watchdog_config(const TrainConfig& config) {
  const std::chrono::duration<double> step_timeout(config.step_timeout);
  return {.step_timeout = step_timeout, .start_timeout = 6 * step_timeout};
}

std::chrono::seconds collective_timeout(const TrainConfig& config) {
  return std::chrono::seconds(static_cast<int64_t>(2 * config.step_timeout) + 60);
}

bool due(int64_t every, int64_t step) { return every > 0 && step % every == 0; }

}  // namespace cfm::trainer
