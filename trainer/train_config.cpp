#include <cmath>

#include "base/lease.h"
#include "base/number_text.h"
#include "data/dataset.h"
#include "metrics/exporter.h"
#include "trainer/start_weights.h"
#include "trainer/train.h"

namespace cfm::trainer {
namespace {

void append(Problems& all, const Problems& more) { all.insert(all.end(), more.begin(), more.end()); }

void check_not_negative(Problems& problems, const std::string& flag, int64_t value) {
  if (value < 0) problems.push_back("--" + flag + "=" + std::to_string(value) + ": must not be negative");
}

}  // namespace

Problems TrainConfig::validate() const {
  Problems problems;
  const auto require = [&](bool ok, const std::string& problem) {
    if (!ok) problems.push_back(problem);
  };
  require(!run_dir.empty(), "--run_dir is missing: the folder that the run is kept in");
  require(!train_data.empty(), "--train_data is missing: a shard file or a folder of shards that cfm_pack wrote");
  require(steps > 0, "--steps=" + std::to_string(steps) + ": must be at least 1");
  require(init_from.empty() || branch_from.empty(),
          "--init_from=" + init_from + " and --branch_from=" + branch_from + ": a run has one beginning; give one");
  try {
    if (!branch_from.empty()) branch_point(branch_from);
  } catch (const Error& error) {
    problems.emplace_back(error.what());
  }
  require(global_batch > 0, "--global_batch=" + std::to_string(global_batch) +
                                ": must be at least 1, and no less than the number of ranks");
  require(loader_threads > 0, "--loader_threads=" + std::to_string(loader_threads) + ": must be at least 1");
  require(data_groups >= 0,
          "--data_groups=" + std::to_string(data_groups) + ": expected 0 (as the run has them) or more");
  check_not_negative(problems, "ranks_per_node", ranks_per_node);
  data::DatasetOptions reading;
  reading.data_mode = data_mode;
  reading.stage_dir = stage_dir;
  append(problems, reading.validate());
  append(problems, metrics::ExporterConfig{.listen = metrics, .textfile = metrics_textfile}.validate());
  constexpr double kLongestStep = 30 * 86400;
  require(step_timeout > 0 && step_timeout <= kLongestStep, "--step_timeout=" + number_text(step_timeout) +
                                                                ": expected seconds, more than 0 and at most " +
                                                                number_text(kLongestStep));
  append(problems, lease_problems(lease_seconds));
  require(device == "auto" || device == "cpu" || device == "cuda",
          "--device=" + device + ": there are auto, cpu, cuda");
  require(precision == "fp32" || precision == "bf16", "--precision=" + precision + ": there are fp32, bf16");
  require(clip_norm >= 0 && std::isfinite(clip_norm),
          "--clip_norm=" + number_text(clip_norm) + ": must be a number that is not negative; 0 means no clipping");
  require(max_skipped > 0, "--max_skipped=" + std::to_string(max_skipped) + ": must be at least 1");
  require(label_drop >= 0 && label_drop <= 1, "--label_drop=" + number_text(label_drop) + ": must lie in [0, 1]");
  require(label_drop == 0 || model.null_class,
          "--label_drop=" + number_text(label_drop) +
              ": needs --num_classes > 0 and --null_class, the class that a dropped label becomes");
  require(val_every == 0 || !val_data.empty(),
          "--val_every=" + std::to_string(val_every) + ": --val_data must name held-out shards");
  require(val_images > 0, "--val_images=" + std::to_string(val_images) + ": must be at least 1");
  check_not_negative(problems, "threads", threads);
  check_not_negative(problems, "micro_batch", micro_batch);
  check_not_negative(problems, "log_every", log_every);
  check_not_negative(problems, "checkpoint_every", checkpoint_every);
  check_not_negative(problems, "keep_last", keep_last);
  check_not_negative(problems, "keep_every", keep_every);
  check_not_negative(problems, "keep_unevaluated", keep_unevaluated);
  check_not_negative(problems, "val_every", val_every);
  check_not_negative(problems, "sample_every", sample_every);
  append(problems, flow_config.validate());
  append(problems, times.validate(flow_config.path, flow_config.objective));
  append(problems, coupling.validate());
  append(problems, optimizer.validate());
  append(problems, schedule.validate(steps));
  append(problems, ema.validate());
  append(problems, sample.validate("--solver_steps"));
  return problems;
}

}  // namespace cfm::trainer
