#include "trainer/prepare.h"

#include <algorithm>
#include <filesystem>

#include "base/durable_file.h"

namespace cfm::trainer {

void check_ranks(const TrainConfig& config, const parallel::MpiSession& session) {
  if (session.size() <= config.global_batch) return;
  throw SharedError("--global_batch=" + std::to_string(config.global_batch) + " on " + std::to_string(session.size()) +
                    " ranks: every rank needs at least one image a step; start fewer ranks or raise --global_batch");
}

OpenedData open_data(const TrainConfig& config, const parallel::MpiSession& session) {
  return agreed(session, [&] {
    OpenedData data{data::Dataset::open(config.train_data), {}};
    if (!config.val_data.empty()) {
      data.val = data::Dataset::open(config.val_data);
      const data::ImageShape train = data.train.image_shape(), val = data.val->image_shape();
      check(train == val, "--val_data=" + config.val_data + " has images of " + std::to_string(val.channels) + "x" +
                              std::to_string(val.height) + "x" + std::to_string(val.width) +
                              ", --train_data=" + config.train_data + " of " + std::to_string(train.channels) + "x" +
                              std::to_string(train.height) + "x" + std::to_string(train.width) +
                              ": they must be of one kind");
    }
    return data;
  });
}

TrainConfig fitted_to_data(TrainConfig config, const OpenedData& data) {
  const data::ImageShape shape = data.train.image_shape();
  Problems problems;
  if (shape.height != shape.width) {
    problems.push_back("--train_data=" + config.train_data + ": images are " + std::to_string(shape.height) + "x" +
                       std::to_string(shape.width) + "; the network takes square ones");
  }
  config.model.image_size = shape.width;
  config.model.in_channels = config.model.out_channels = shape.channels;
  const int64_t classes = std::max(data.train.num_classes(), data.val ? data.val->num_classes() : 0);
  if (config.model.num_classes > 0 && classes > config.model.num_classes) {
    problems.push_back("--num_classes=" + std::to_string(config.model.num_classes) + ": the data has labels up to " +
                       std::to_string(classes - 1) + "; give at least " + std::to_string(classes) +
                       ", or 0 to ignore labels");
  }
  for (const std::string& problem : config.model.validate()) problems.push_back(problem);
  check_no_problems(problems);
  return config;
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
          .horizontal_flip = config.horizontal_flip,
          .label_drop = config.label_drop,
          .null_class = config.model.null_label()};
}

data::LoaderConfig loader_config(const TrainConfig& config, const parallel::MpiSession& session, c10::Device device) {
  return {.seed = config.seed,
          .global_batch = config.global_batch,
          .micro_batch = config.micro_batch,
          .rank = session.rank(),
          .size = session.size(),
          .threads = config.loader_threads,
          .pinned = device.is_cuda()};
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
