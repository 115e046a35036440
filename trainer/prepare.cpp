#include "trainer/prepare.h"

#include <filesystem>

#include "base/durable_file.h"

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
    std::filesystem::create_directories(config.run_dir, error);
    check(!error, "--run_dir=" + config.run_dir + " cannot be created: " + error.message());
    const std::filesystem::path probe = std::filesystem::path(config.run_dir) / ".writable";
    write_durably(probe, "");
    std::filesystem::remove(probe);
  });
}

flow::DrawConfig draw_config(const TrainConfig& config) {
  return {.seed = config.seed,
          .path = config.flow_config.path,
          .times = config.times,
          .horizontal_flip = config.horizontal_flip,
          .label_drop = config.label_drop,
          .null_class = config.model.null_label()};
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
