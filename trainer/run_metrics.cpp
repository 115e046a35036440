#include "trainer/run_metrics.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <filesystem>

#include "base/environment.h"
#include "base/number_text.h"
#include "base/process_facts.h"
#include "checkpoint/store.h"
#include "models/ema.h"

namespace cfm::trainer {
namespace {

namespace fs = std::filesystem;

constexpr std::array kStages{"data", "weights", "training", "held-out"};
constexpr size_t kMostRanks = 64;  // of a node, that have series of their own

double now() { return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count(); }

// The ranks on this rank's node. Collective.
std::vector<RankHere> ranks_here(const parallel::MpiSession& session) {
  std::vector<RankHere> here;
  int rank = 0;
  for (const std::string& one : session.control().all_gather(session.host() + "\n" + std::to_string(::getpid()))) {
    const size_t end = one.find('\n');
    if (one.substr(0, end) == session.host())
      here.push_back({.rank = std::to_string(rank), .process = std::stoi(one.substr(end + 1))});
    ++rank;
  }
  return here;
}

int64_t checkpoint_bytes(const std::string& run_dir, int64_t step) {
  int64_t bytes = 0;
  std::error_code error;
  const fs::path folder = checkpoint::checkpoints_folder(run_dir) / checkpoint::step_name(step);
  for (const auto& entry : fs::directory_iterator(folder, error)) bytes += static_cast<int64_t>(entry.file_size(error));
  return bytes;
}

// The last grid of samples that the run drew up to `step`; empty if there is none.
fs::path newest_samples(const std::string& run_dir, int64_t step) {
  int64_t newest = -1;
  fs::path file;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(fs::path(run_dir) / "samples", error)) {
    const int64_t of = checkpoint::step_of(entry.path().stem().string());
    if (entry.path().extension() != ".png" || of > step || of <= newest) continue;
    newest = of;
    file = entry.path();
  }
  return file;
}

std::string run_name(const TrainConfig& config) { return metrics::run_name(config.metrics_run, config.run_dir); }

// A text file that is named is rank 0's; in a folder each node has its own.
fs::path textfile(const TrainConfig& config, const parallel::MpiSession& session) {
  const fs::path file = config.metrics_textfile;
  return session.rank() == 0 || file.extension() != ".prom" ? file : fs::path();
}

metrics::ExporterConfig exporter_config(const TrainConfig& config, const parallel::MpiSession& session) {
  metrics::ExporterConfig exporter{
      .listen = config.metrics,
      .advertise = config.metrics_advertise,
      .targets = config.metrics_targets,
      .textfile = textfile(config, session),
      .address_file = fs::path(config.run_dir) / ("metrics-" + session.host() + ".address"),
      .run = run_name(config),
      .node = session.host(),
      .job = from_environment("SLURM_JOB_ID"),
      .run_dir = config.run_dir};
  if (config.metrics_targets.empty()) {
    exporter.targets = cache_folder("targets");
    exporter.loopback_targets = exporter.job.empty() && session.local_size() == session.size();
  }
  return exporter;
}

}  // namespace

RunMetrics::RunMetrics(const TrainConfig& config, const parallel::MpiSession& session)
    : config_(config),
      of_run_(session.rank() == 0),
      node_(session.host()),
      started_(process_start_seconds()),
      ranks_here_(ranks_here(session)),
      results_(fs::path(config.run_dir) / "results") {
  if (session.local_rank() != 0 || (config.metrics.empty() && config.metrics_textfile.empty())) return;
  series_ = std::make_unique<metrics::Series>(run_name(config));
  series_->set("cfm_node_ranks", static_cast<double>(ranks_here_.size()), {node_});
  std::map<std::string, std::function<metrics::Page()>> pages;
  if (of_run_) {
    series_->set("cfm_start_time_seconds", started_);
    series_->set("cfm_ranks", session.size());
    series_->set("cfm_goodput_ratio", 0);
    // There from the start, so that nothing that counts them has to wait for the first.
    for (const char* counter : {"cfm_steps_total", "cfm_images_total", "cfm_skipped_updates_total",
                                "cfm_checkpoints_total", "cfm_checkpoint_failures_total"})
      series_->add(counter, 0);
    for (const char* phase : kPhaseNames) series_->add("cfm_phase_seconds_total", 0, {phase});
    page_ = std::make_unique<metrics::StatusPage>(run_name(config), config.steps);
    pages = page_->pages();
  }
  stage(Stage::kData);
  exporter_ = std::make_unique<metrics::Exporter>(exporter_config(config, session), *series_, std::move(pages));
}

void RunMetrics::stage(Stage stage) {
  if (series_) look();
  if (!series_ || !of_run_) return;
  const char* const now_at = kStages[static_cast<size_t>(stage)];
  for (const char* const one : kStages) series_->set("cfm_stage", one == now_at ? 1 : 0, {one});
  page_->put_stage(now_at);
}

void RunMetrics::start(const checkpoint::Progress& at, int64_t attempt, int64_t images,
                       const metrics::History& before) {
  images_ = images;
  images_seen_ = at.images_seen;
  if (!series_ || !of_run_) return;
  const std::pair<const char*, double> values[] = {
      {"cfm_step", at.step},
      {"cfm_last_step", config_.steps},
      {"cfm_images_seen", images_seen_},
      {"cfm_epoch", static_cast<double>(images_seen_) / static_cast<double>(images_)},
      {"cfm_attempt", attempt},
      {"cfm_lost_steps", before.lost_steps},
      {"cfm_lost_seconds", before.lost_seconds},
      {"cfm_checkpoint_step", at.step},
      {"cfm_checkpoint_time_seconds", now()}};
  for (const auto& [name, value] : values) series_->set(name, value);
  if (at.step > 0)
    series_->set("cfm_checkpoint_bytes", static_cast<double>(checkpoint_bytes(config_.run_dir, at.step)));
  page_->put_start(at.step, before.losses);
  page_->put_checkpoint(at.step);
  page_->put_samples(newest_samples(config_.run_dir, at.step));
  stage(Stage::kTraining);
}

void RunMetrics::step(const StepMeasure& measure, const StepOverRanks& all, double images_per_second,
                      double eta_seconds) {
  if (!series_) return;
  if (now() - looked_ > kLookEvery) look();
  if (of_run_) {
    images_seen_ += config_.global_batch;
    if (!measure.skipped) good_seconds_ += all.step_seconds;
    const std::pair<const char*, double> values[] = {
        {"cfm_step", measure.step},
        {"cfm_images_seen", images_seen_},
        {"cfm_epoch", static_cast<double>(images_seen_) / static_cast<double>(images_)},
        {"cfm_eta_seconds", eta_seconds},
        {"cfm_goodput_ratio", good_seconds_ / (now() - started_)},
        {"cfm_loss", all.losses.sum / static_cast<double>(config_.global_batch)},
        {"cfm_gradient_norm", measure.gradient_norm},
        {"cfm_learning_rate", measure.lr},
        {"cfm_images_per_second", images_per_second},
        {"cfm_step_seconds", all.step_seconds}};
    for (const auto& [name, value] : values) series_->set(name, value);
    put_phases(all);
    series_->add("cfm_steps_total", 1);
    series_->add("cfm_images_total", static_cast<double>(config_.global_batch));
    if (measure.skipped) series_->add("cfm_skipped_updates_total", 1);
    if (!measure.skipped) {
      add_losses_by_time(all.losses);
      for (const double decay : config_.ema.decays)
        series_->set("cfm_ema_decay", models::ema_decay_at(decay, config_.ema.warmup, measure.averaged_updates),
                     {number_text(decay)});
    }
    if (measure.step % std::max<int64_t>(config_.log_every, 1) == 0) put_losses_by_time();
    if (const parallel::GpuMemory& gpu = all.gpu_memory; gpu.reserved > 0) {
      series_->set("cfm_gpu_memory_bytes", static_cast<double>(gpu.allocated), {"allocated"});
      series_->set("cfm_gpu_memory_bytes", static_cast<double>(gpu.peak), {"peak"});
      series_->set("cfm_gpu_memory_bytes", static_cast<double>(gpu.reserved), {"reserved"});
    }
    put_page(measure, all, images_per_second, eta_seconds);
  }
}

void RunMetrics::put_phases(const StepOverRanks& all) {
  series_->set("cfm_slowest_rank", all.slowest_rank);
  series_->set("cfm_slowest_rank_lag_ratio", all.slowest_lag);
  for (size_t p = 0; p < kPhaseNames.size(); ++p) {
    series_->set("cfm_phase_seconds", all.phase_min[p], {kPhaseNames[p], "min"});
    series_->set("cfm_phase_seconds", all.phase_mean[p], {kPhaseNames[p], "mean"});
    series_->set("cfm_phase_seconds", all.phase_max[p], {kPhaseNames[p], "max"});
    series_->add("cfm_phase_seconds_total", all.phase_mean[p], {kPhaseNames[p]});
  }
}

void RunMetrics::put_page(const StepMeasure& measure, const StepOverRanks& all, double images_per_second,
                          double eta_seconds) {
  metrics::StatusNumbers numbers{.step = measure.step,
                                 .last_step = config_.steps,
                                 .loss = all.losses.sum / static_cast<double>(config_.global_batch),
                                 .gradient_norm = measure.gradient_norm,
                                 .learning_rate = measure.lr,
                                 .images_per_second = images_per_second,
                                 .eta_seconds = eta_seconds,
                                 .step_seconds = all.step_seconds,
                                 .phase_seconds = {}};
  for (size_t p = 0; p < kPhaseNames.size(); ++p) numbers.phase_seconds.emplace_back(kPhaseNames[p], all.phase_mean[p]);
  page_->put(numbers);
}

void RunMetrics::add_losses_by_time(const StepLosses& losses) {
  for (size_t bin = 0; bin < kTimeBins; ++bin) {
    since_logged_.by_time[bin] += losses.by_time[bin];
    since_logged_.images[bin] += losses.images[bin];
  }
}

// A bin that no image has fallen into keeps what it had.
void RunMetrics::put_losses_by_time() {
  for (size_t bin = 0; bin < kTimeBins; ++bin)
    if (since_logged_.images[bin] > 0)
      series_->set("cfm_loss_by_time", since_logged_.by_time[bin] / since_logged_.images[bin], {std::to_string(bin)});
  since_logged_ = {};
}

void RunMetrics::checkpoint_failed() {
  if (series_ && of_run_) series_->add("cfm_checkpoint_failures_total", 1);
}

void RunMetrics::checkpoint(int64_t step, double seconds, double stall_seconds) {
  if (!series_ || !of_run_) return;
  series_->set("cfm_checkpoint_step", static_cast<double>(step));
  series_->set("cfm_checkpoint_time_seconds", now());
  series_->set("cfm_checkpoint_seconds", seconds);
  series_->set("cfm_checkpoint_stall_seconds", stall_seconds);
  series_->set("cfm_checkpoint_bytes", static_cast<double>(checkpoint_bytes(config_.run_dir, step)));
  series_->add("cfm_checkpoints_total", 1);
  page_->put_checkpoint(step);
}

void RunMetrics::samples(const std::string& file) {
  if (page_) page_->put_samples(file);
}

void RunMetrics::validation(int64_t step, const std::string& weights, const ValidationLoss& loss) {
  if (!series_ || !of_run_) return;
  series_->set("cfm_validation_step", static_cast<double>(step));
  series_->set("cfm_validation_loss", loss.mean, {weights});
  for (size_t bin = 0; bin < loss.by_time.size(); ++bin)
    series_->set("cfm_validation_loss_by_time", loss.by_time[bin], {weights, std::to_string(bin)});
}

std::string RunMetrics::text() const { return exporter_ && of_run_ ? exporter_->text() : ""; }

void RunMetrics::look() {
  looked_ = now();
  double cpu = 0;
  int64_t own = 0, shared = 0;
  for (size_t i = 0; i < ranks_here_.size(); ++i) {
    RankHere& one = ranks_here_[i];
    const ProcessMemory memory = process_memory(one.process);
    const double seconds = std::max(process_cpu_seconds(one.process) - one.cpu_seconds, 0.0);  // since the last look
    one.cpu_seconds += seconds;
    own += memory.own;
    shared = std::max(shared, memory.shared);  // the same of all of them
    cpu += seconds;
    if (i >= kMostRanks) continue;
    series_->set("cfm_rank_resident_bytes", static_cast<double>(memory.own + memory.shared), {node_, one.rank});
    series_->add("cfm_rank_cpu_seconds_total", seconds, {node_, one.rank});
  }
  series_->set("cfm_node_resident_bytes", static_cast<double>(own + shared), {node_});
  series_->add("cfm_node_cpu_seconds_total", cpu, {node_});
  if (!of_run_) return;
  std::error_code error;
  const fs::space_info space = fs::space(config_.run_dir, error);
  if (!error) series_->set("cfm_disk_free_bytes", static_cast<double>(space.available));
  results_.look(*series_);
}

}  // namespace cfm::trainer
