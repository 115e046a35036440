#include "trainer/open_data.h"

#include <algorithm>
#include <filesystem>
#include <limits>
#include <system_error>

#include "base/log.h"
#include "checkpoint/store.h"
#include "trainer/coupled_noise.h"

namespace cfm::trainer {
namespace {

// --data_groups, or what the run has: a resume cannot change it, for the order of samples depends on it. Collective.
int64_t groups_of_run(const TrainConfig& config, const parallel::MpiSession& session,
                      const parallel::NodeLayout& layout) {
  std::string found;
  parallel::agree_on(session, [&] {
    if (session.rank() != 0) return;
    int64_t groups = std::max<int64_t>(config.data_groups, 1), images_seen = 0;
    if (const auto manifest = newest_manifest(config.run_dir)) {
      check(config.data_groups == 0 || config.data_groups == manifest->data_groups,
            "--data_groups=" + std::to_string(config.data_groups) + ": the run in " + config.run_dir + " has " +
                std::to_string(manifest->data_groups) +
                ", and the order of its samples depends on it. Leave the flag out, or give another --run_dir.");
      groups = manifest->data_groups;
      images_seen = manifest->progress.images_seen;
    }
    check_no_problems(data::group_problems(groups, config.global_batch, std::numeric_limits<int64_t>::max(),
                                           images_seen, layout.ranks_by_node));
    found = std::to_string(groups);
  });
  return std::stoll(session.control().broadcast(found));
}

}  // namespace

std::optional<checkpoint::Manifest> newest_manifest(const std::string& run_dir) {
  std::error_code error;
  const auto type = std::filesystem::status(checkpoint::checkpoints_folder(run_dir), error).type();
  if (type != std::filesystem::file_type::directory && type != std::filesystem::file_type::none) return {};
  const auto passed_over = [](int64_t, const std::string&) {};  // a resume says it
  const std::string json = checkpoint::newest_intact_manifest(run_dir, passed_over);
  if (json.empty()) return {};
  return checkpoint::manifest_from_json(json,
                                        "the newest manifest in " + checkpoint::checkpoints_folder(run_dir).string());
}

OpenedData open_data(const TrainConfig& config, const parallel::MpiSession& session, const StopSignal& stop,
                     data::Hdf5Process& hdf5) {
  const parallel::NodeLayout layout = parallel::node_layout(session, config.ranks_per_node);
  const int64_t groups = groups_of_run(config, session, layout);
  data::DatasetOptions options{.data_mode = config.data_mode,
                               .verify = config.verify_data,
                               .groups = groups,
                               .stage_dir = config.stage_dir,
                               .ranks = parallel::ranks_of(session, layout),
                               .hdf5 = &hdf5,
                               .metadata_only = false,
                               .labels_from_one = {},
                               .stopped = [&stop] { return stop.raised() != 0; }};
  OpenedData data{
      .train = data::Dataset::open(config.train_data, options), .val = {}, .data_groups = groups, .layout = layout};
  if (config.val_data.empty() || config.val_every == 0) return data;
  if (!data.train.is_ours()) options.labels_from_one = data.train.labels_from_one();
  options.groups = 1;
  options.stage_dir.clear();
  options.ranks.job += "-val";
  data.val = data::Dataset::open(config.val_data, options);
  const data::ImageShape train = data.train.image_shape(), val = data.val->image_shape();
  if (train != val) {
    throw SharedError("--val_data=" + config.val_data + " has images of " + data::shape_text(val) + ", --train_data=" +
                      config.train_data + " of " + data::shape_text(train) + ": they must be of one kind");
  }
  return data;
}

TrainConfig fitted_to_data(TrainConfig config, const OpenedData& data) {
  const data::ImageShape shape = data.train.image_shape();
  Problems problems;
  if (shape.height != shape.width) {
    problems.push_back("--train_data=" + config.train_data + ": images are " + std::to_string(shape.height) + "x" +
                       std::to_string(shape.width) + "; the network takes square ones");
  }
  config.data_groups = data.data_groups;
  config.flags["data_groups"] = std::to_string(data.data_groups);
  config.model.image_size = shape.width;
  config.model.in_channels = config.model.out_channels = shape.channels;
  const int64_t classes = std::max(data.train.num_classes(), data.val ? data.val->num_classes() : 0);
  if (config.model.num_classes > 0 && classes > config.model.num_classes) {
    problems.push_back("--num_classes=" + std::to_string(config.model.num_classes) + ": the data has labels up to " +
                       std::to_string(classes - 1) + "; give at least " + std::to_string(classes) +
                       ", or 0 to ignore labels");
  }
  for (const std::string& problem : config.model.validate()) problems.push_back(problem);
  for (const std::string& problem : block_problems(config.coupling, config.global_batch, config.data_groups))
    problems.push_back(problem);
  check_no_problems(problems);
  return config;
}

data::LoaderConfig loader_config(const TrainConfig& config, const OpenedData& data, const parallel::MpiSession& session,
                                 c10::Device device) {
  return {.seed = config.seed,
          .global_batch = config.global_batch,
          .micro_batch = config.micro_batch,
          .rank = data.data_groups > 1 ? data.layout.rank_by_node() : session.rank(),
          .size = session.size(),
          .data_groups = data.data_groups,
          .threads = config.loader_threads,
          .pinned = device.is_cuda()};
}

}  // namespace cfm::trainer
