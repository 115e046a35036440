#include "trainer/prepare.h"

#include <filesystem>

#include "base/durable_file.h"
#include "base/log.h"
#include "base/number_text.h"
#include "metrics/event_log.h"
#include "parallel/failure_log.h"

namespace cfm::trainer {
namespace {

namespace fs = std::filesystem;

// A start whose ranks were all killed at once could not say so: the next one does.
void tell_of_unsaid_end(const TrainConfig& config, const fs::path& file, parallel::FailureLog& failures) {
  const auto before = metrics::unsaid_end(fs::path(config.run_dir) / "events.jsonl");
  failures.write_to(file);
  if (!before || failures.last_time() >= before->started) return;
  const std::string text = "start " + std::to_string(before->attempt) + " of this run ended without a word at " +
                           before->last_heard + ", in or behind step " + std::to_string(before->step) +
                           ": it was killed as a whole, or its machine went down";
  failures.record("unsaid", text, {.rank = -1, .host = "", .phase = "", .step = before->step}, ExitCode::kRetry);
  say("before     " + text);
}

}  // namespace

void check_ranks(const TrainConfig& config, const parallel::MpiSession& session) {
  if (session.size() <= config.global_batch) return;
  throw SharedError("--global_batch=" + std::to_string(config.global_batch) + " on " + std::to_string(session.size()) +
                    " ranks: every rank needs at least one image a step; start fewer ranks or raise --global_batch");
}

void refuse_wrong_folder(const TrainConfig& config) {
  std::error_code error;
  check(!fs::exists(config.run_dir, error) || fs::is_directory(config.run_dir, error),
        "--run_dir=" + config.run_dir + " is a file; expected a folder, or a name for a new one");
  check(!fs::equivalent(config.run_dir, config.train_data, error),
        "--run_dir=" + config.run_dir + " is the folder of --train_data: a run gets a folder of its own");
}

void prepare_run_dir(const TrainConfig& config, const parallel::MpiSession& session) {
  parallel::agree_on(session, [&] {
    if (session.rank() != 0) return;
    refuse_wrong_folder(config);
    make_folder(config.run_dir, "--run_dir=" + config.run_dir, "Give another.");
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
  const fs::path failures = fs::path(config.run_dir) / "failures.jsonl";
  if (lease) tell_of_unsaid_end(config, failures, session.failures());
  session.control().barrier();
  session.failures().write_to(failures);
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

checkpoint::StoreConfig store_config(const TrainConfig& config, const Lease* lease, parallel::FailureLog& failures) {
  const auto ownership = [lease, &failures] {
    const Lease::State state = lease == nullptr ? Lease::State::kHeld : lease->state();
    if (state == Lease::State::kAnothers) failures.leave();
    return state;
  };
  return {.run_dir = config.run_dir,
          .keep_last = config.keep_last,
          .keep_every = config.keep_every,
          .keep_unevaluated = config.keep_unevaluated,
          .ownership = ownership};
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
