#include "trainer/report.h"

#include <cstdio>
#include <filesystem>

#include "base/log.h"
#include "checkpoint/store.h"

namespace cfm::trainer {
namespace {

std::string number(double value, const char* format) {
  char text[64];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

std::filesystem::path events_of(const TrainConfig& config) {
  return std::filesystem::path(config.run_dir) / "events.jsonl";
}

}  // namespace

std::string dropout_note(double dropout, c10::Device device) {
  if (dropout == 0 || device.is_cpu()) return "";
  return "dropout    masks are ATen's, seeded per (step, rank, micro-batch): they follow the number of ranks and "
         "--micro_batch";
}

Report::Report(const TrainConfig& config, const parallel::MpiSession& session, RunMetrics& metrics)
    : config_(config),
      ranks_(session.size()),
      speaks_(session.rank() == 0),
      events_(speaks_ ? events_of(config) : std::filesystem::path()),
      line_(speaks_),
      metrics_(metrics) {}

void Report::note(const std::string& text) {
  if (!speaks_) return;
  line_.interrupt();
  say(text);
}

void Report::start(const RunState& state, const std::optional<std::vector<FlagChange>>& resumed, const OpenedData& data,
                   int64_t parameters, int threads, c10::Device device) {
  const checkpoint::Progress& at = state.at;
  const data::Fingerprint& fingerprint = data.train.fingerprint();
  first_step_ = at.step;
  note("run        " + config_.run_dir +
       (resumed ? ", resumed at step " + std::to_string(at.step) : ", from the start"));
  note("network    " + std::to_string(parameters) + " parameters");
  note("data       " + config_.train_data + ": " + std::to_string(data.train.size()) + " images, fingerprint " +
       fingerprint.text());
  note("reading    " + data.train.access());
  if (data.data_groups > 1)
    note("groups     " + std::to_string(data.data_groups) + " on " + std::to_string(data.layout.nodes()) +
         (data.layout.nodes() == 1 ? " node" : " nodes") + ", each with an order of its own");
  note("ranks      " + std::to_string(ranks_) + " with " + std::to_string(threads) + " threads each, global batch " +
       std::to_string(config_.global_batch));
  metrics_.start(at, events_.attempt(), data.train.size(),
                 speaks_ ? metrics::history_before(events_of(config_), at.step) : metrics::History());
  if (!metrics_.text().empty()) note("metrics    " + metrics_.text());
  const std::string dropout = dropout_note(config_.model.dropout, device);
  if (!dropout.empty()) note(dropout);
  events_.write("start", {{"step", at.step},
                          {"images_seen", at.images_seen},
                          {"steps", config_.steps},
                          {"ranks", static_cast<int64_t>(ranks_)},
                          {"threads", static_cast<int64_t>(threads)},
                          {"global_batch", config_.global_batch},
                          {"parameters", parameters},
                          {"data_groups", data.data_groups},
                          {"reading", data.train.access()},
                          {"dataset_fingerprint", fingerprint.files},
                          {"dataset_images_fingerprint", fingerprint.images}});
  if (resumed) events_.write("rewind_to", {{"step", at.step}});
  if (const auto& from = state.branched_from; from && !resumed)
    events_.write("branch", {{"step", at.step}, {"from_run", from->run}, {"from_step", from->step}});
  for (const FlagChange& change : resumed.value_or(std::vector<FlagChange>()))
    events_.write("config_change",
                  {{"step", at.step}, {"flag", change.flag}, {"old", change.then}, {"new", change.now}});
}

bool Report::step(const StepMeasure& measure, const parallel::StepSummary& summary) {
  const StepOverRanks all = over_ranks(summary, ranks_);
  const double seconds = all.step_seconds;
  smooth_seconds_ = smooth_seconds_ == 0 ? seconds : 0.9 * smooth_seconds_ + 0.1 * seconds;
  const double loss = all.losses.sum / static_cast<double>(config_.global_batch);
  if (measure.skipped) {
    note("step " + std::to_string(measure.step) + ": update skipped, the gradient's norm is " +
         number(measure.gradient_norm, "%g"));
    events_.write("skipped", {{"step", measure.step}, {"gradient_norm", measure.gradient_norm}, {"loss", loss}});
  }
  const bool due = config_.log_every > 0 && measure.step % config_.log_every == 0;
  if (due) {
    events_.write("step", {{"step", measure.step},
                           {"loss", loss},
                           {"gradient_norm", measure.gradient_norm},
                           {"lr", measure.lr},
                           {"step_seconds", seconds},
                           {"data_wait_seconds", all.data_wait_seconds},
                           {"exposed_reduce_seconds", all.phase_mean[static_cast<size_t>(Phase::kAllReduce)]}});
  }
  const double images_per_second = static_cast<double>(config_.global_batch) / smooth_seconds_;
  const double eta_seconds = smooth_seconds_ * static_cast<double>(config_.steps - measure.step);
  metrics_.step(measure, all, images_per_second, eta_seconds);
  if (!speaks_) return all.stop_requested;
  line_.show({.step = measure.step,
              .steps = config_.steps,
              .loss = loss,
              .images_per_second = images_per_second,
              .data_wait_share = seconds > 0 ? all.data_wait_seconds / seconds : 0,
              .learning_rate = measure.lr,
              .gradient_norm = measure.gradient_norm,
              .eta_seconds = eta_seconds},
             due);
  return all.stop_requested;
}

void Report::checkpoint(int64_t step, double seconds, double stall_seconds) {
  note("checkpoint " + checkpoint::step_name(step) + " in " + number(seconds, "%.2f") + " s, training waited " +
       number(stall_seconds, "%.2f") + " s");
  events_.write("checkpoint", {{"step", step}, {"seconds", seconds}, {"stall_seconds", stall_seconds}});
  metrics_.checkpoint(step, seconds, stall_seconds);
}

void Report::checkpoint_failed(int64_t step, const std::string& problem) {
  ++failed_checkpoints_;
  if (!speaks_) return;
  line_.interrupt();
  warn("the checkpoint of step " + std::to_string(step) + " failed (" + std::to_string(failed_checkpoints_) +
       " so far); earlier ones are as they were. " + problem);
  metrics_.checkpoint_failed();
  events_.write("checkpoint_failed", {{"step", step}, {"failures", failed_checkpoints_}, {"problem", problem}});
}

void Report::deletion_failed(int64_t step, const std::string& problem) {
  ++failed_deletions_;
  if (!speaks_) return;
  line_.interrupt();
  warn("behind the checkpoint of step " + std::to_string(step) + ": " + problem + " (" +
       std::to_string(failed_deletions_) + " so far)");
  events_.write("deletion_failed", {{"step", step}, {"failures", failed_deletions_}, {"problem", problem}});
}

void Report::validation(int64_t step, const std::string& weights, const ValidationLoss& loss) {
  std::string bins;
  for (const double of_bin : loss.by_time) bins += " " + number(of_bin, "%.4f");
  note("held-out   step " + std::to_string(step) + ", " + weights + ": loss " + number(loss.mean, "%.5f") + " on " +
       std::to_string(loss.images) + " images; by t:" + bins);
  metrics_.validation(step, weights, loss);
  events_.write("validation", {{"step", step},
                               {"weights", weights},
                               {"loss", loss.mean},
                               {"images", loss.images},
                               {"loss_by_t", std::vector<double>(loss.by_time.begin(), loss.by_time.end())}});
}

void Report::samples(int64_t step, const std::string& file) {
  note("samples    " + file);
  metrics_.samples(file);
  events_.write("samples", {{"step", step}, {"file", file}});
}

void Report::end(const checkpoint::Progress& at, bool stopped, int signal) {
  if (stopped) {
    note("stopped    at step " + std::to_string(at.step) + " of " + std::to_string(config_.steps) +
         (signal ? " on signal " + std::to_string(signal) : "") + ", saved; the same command continues");
    events_.write("stop", {{"step", at.step}, {"signal", static_cast<int64_t>(signal)}});
  } else if (first_step_ >= config_.steps) {
    note("done       nothing to do: the run is at step " + std::to_string(at.step) +
         ", --steps=" + std::to_string(config_.steps) + "; give more --steps to go on");
    events_.write("end", {{"step", at.step}, {"images_seen", at.images_seen}});
  } else {
    note("done       " + std::to_string(at.step) + " steps, " + std::to_string(at.images_seen) + " images");
    events_.write("end", {{"step", at.step}, {"images_seen", at.images_seen}});
  }
}

}  // namespace cfm::trainer
