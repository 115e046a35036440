#include "trainer/run_metrics.h"

#include <unistd.h>

#include <chrono>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/environment.h"

namespace cfm::trainer {
namespace {

namespace fs = std::filesystem;

constexpr double kLookEvery = 5;   // seconds: what is asked of the system
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

// [proc(5), /proc/pid/statm]
double resident_bytes(int process) {
  int64_t size = 0, resident = 0;
  std::ifstream("/proc/" + std::to_string(process) + "/statm") >> size >> resident;
  return static_cast<double>(resident * ::sysconf(_SC_PAGESIZE));
}

// [proc(5), /proc/pid/stat: utime and stime are fields 14 and 15]
double cpu_seconds(int process) {
  std::string text;
  std::getline(std::ifstream("/proc/" + std::to_string(process) + "/stat"), text);
  const size_t end = text.rfind(") ");
  if (end == std::string::npos) return 0;
  std::istringstream fields(text.substr(end + 2));
  std::string skipped;
  for (int i = 3; i < 14; ++i) fields >> skipped;
  double user = 0, system = 0;
  fields >> user >> system;
  return (user + system) / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

std::string run_name(const TrainConfig& config) { return metrics::run_name(config.metrics_run, config.run_dir); }

metrics::ExporterConfig exporter_config(const TrainConfig& config, const parallel::MpiSession& session) {
  metrics::ExporterConfig exporter{
      .listen = config.metrics,
      .advertise = config.metrics_advertise,
      .targets = config.metrics_targets,
      .textfile = session.rank() == 0 ? config.metrics_textfile : "",
      .address_file = fs::path(config.run_dir) / ("metrics-" + session.host() + ".address"),
      .run = run_name(config),
      .node = session.host(),
      .job = from_environment("SLURM_JOB_ID")};
  if (config.metrics_targets.empty()) exporter.targets = cache_folder("targets");
  return exporter;
}

}  // namespace

RunMetrics::RunMetrics(const TrainConfig& config, const parallel::MpiSession& session)
    : config_(config),
      of_run_(session.rank() == 0),
      node_(session.host()),
      ranks_here_(ranks_here(session)),
      results_(fs::path(config.run_dir) / "results") {
  if (session.local_rank() != 0 || (config.metrics.empty() && config.metrics_textfile.empty())) return;
  series_ = std::make_unique<metrics::Series>(run_name(config));
  started_ = now();
  series_->set("cfm_node_ranks", static_cast<double>(ranks_here_.size()), {node_});
  look();
  if (of_run_) {
    series_->set("cfm_start_time_seconds", started_);
    series_->set("cfm_ranks", session.size());
    // There from the start, so that nothing that counts them has to wait for the first.
    for (const char* counter : {"cfm_steps_total", "cfm_images_total", "cfm_skipped_updates_total",
                                "cfm_checkpoints_total", "cfm_checkpoint_failures_total"})
      series_->add(counter, 0);
  }
  std::map<std::string, std::function<metrics::Page()>> pages;
  if (of_run_) {
    page_ = std::make_unique<metrics::StatusPage>(run_name(config));
    pages = page_->pages();
  }
  exporter_ = std::make_unique<metrics::Exporter>(exporter_config(config, session), *series_, std::move(pages));
}

void RunMetrics::start(const checkpoint::Progress& at, int64_t attempt, int64_t lost_steps, int64_t images,
                       int64_t checkpoint_bytes) {
  images_ = images;
  images_seen_ = at.images_seen;
  if (!series_ || !of_run_) return;
  const std::pair<const char*, double> values[] = {
      {"cfm_step", at.step},
      {"cfm_last_step", config_.steps},
      {"cfm_images_seen", images_seen_},
      {"cfm_epoch", static_cast<double>(images_seen_) / static_cast<double>(images_)},
      {"cfm_attempt", attempt},
      {"cfm_lost_steps", lost_steps},
      {"cfm_checkpoint_step", at.step},
      {"cfm_checkpoint_time_seconds", started_}};
  for (const auto& [name, value] : values) series_->set(name, value);
  if (checkpoint_bytes > 0) series_->set("cfm_checkpoint_bytes", static_cast<double>(checkpoint_bytes));
}

void RunMetrics::step(const StepMeasure& measure, const StepOverRanks& all, double images_per_second,
                      double eta_seconds) {
  if (!series_) return;
  if (now() - looked_ > kLookEvery) look();
  if (of_run_) {
    images_seen_ += config_.global_batch;
    counted_seconds_ += all.step_seconds;
    const std::pair<const char*, double> values[] = {
        {"cfm_step", measure.step},
        {"cfm_images_seen", images_seen_},
        {"cfm_epoch", static_cast<double>(images_seen_) / static_cast<double>(images_)},
        {"cfm_eta_seconds", eta_seconds},
        {"cfm_goodput_ratio", counted_seconds_ / (now() - started_)},
        {"cfm_loss", all.losses.sum / static_cast<double>(config_.global_batch)},
        {"cfm_gradient_norm", measure.gradient_norm},
        {"cfm_learning_rate", measure.lr},
        {"cfm_images_per_second", images_per_second},
        {"cfm_step_seconds", all.step_seconds},
        {"cfm_slowest_rank", all.slowest_rank},
        {"cfm_slowest_rank_lag_ratio", all.slowest_lag}};
    for (const auto& [name, value] : values) series_->set(name, value);
    for (size_t p = 0; p < kPhaseNames.size(); ++p) {
      series_->set("cfm_phase_seconds", all.phase_min[p], {kPhaseNames[p], "min"});
      series_->set("cfm_phase_seconds", all.phase_mean[p], {kPhaseNames[p], "mean"});
      series_->set("cfm_phase_seconds", all.phase_max[p], {kPhaseNames[p], "max"});
      series_->add("cfm_phase_seconds_total", all.phase_mean[p], {kPhaseNames[p]});
    }
    series_->add("cfm_steps_total", 1);
    series_->add("cfm_images_total", static_cast<double>(config_.global_batch));
    if (measure.skipped) series_->add("cfm_skipped_updates_total", 1);
    if (!measure.skipped) add_losses_by_time(all.losses);
    if (measure.step % config_.log_every == 0) put_losses_by_time();
    if (const parallel::GpuMemory& gpu = all.gpu_memory; gpu.reserved > 0) {
      series_->set("cfm_gpu_memory_bytes", static_cast<double>(gpu.allocated), {"allocated"});
      series_->set("cfm_gpu_memory_bytes", static_cast<double>(gpu.peak), {"peak"});
      series_->set("cfm_gpu_memory_bytes", static_cast<double>(gpu.reserved), {"reserved"});
    }
    metrics::StatusNumbers numbers{.step = measure.step,
                                   .last_step = config_.steps,
                                   .loss = all.losses.sum / static_cast<double>(config_.global_batch),
                                   .gradient_norm = measure.gradient_norm,
                                   .learning_rate = measure.lr,
                                   .images_per_second = images_per_second,
                                   .eta_seconds = eta_seconds,
                                   .step_seconds = all.step_seconds,
                                   .phase_seconds = {}};
    for (size_t p = 0; p < kPhaseNames.size(); ++p)
      numbers.phase_seconds.emplace_back(kPhaseNames[p], all.phase_mean[p]);
    page_->put(numbers);
  }
  exporter_->look();
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

void RunMetrics::checkpoint(int64_t step, double seconds, double stall_seconds, int64_t bytes) {
  if (!series_ || !of_run_) return;
  series_->set("cfm_checkpoint_step", static_cast<double>(step));
  series_->set("cfm_checkpoint_time_seconds", now());
  series_->set("cfm_checkpoint_seconds", seconds);
  series_->set("cfm_checkpoint_stall_seconds", stall_seconds);
  series_->set("cfm_checkpoint_bytes", static_cast<double>(bytes));
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
  double resident = 0, cpu = 0;
  for (size_t i = 0; i < ranks_here_.size(); ++i) {
    RankHere& one = ranks_here_[i];
    const double bytes = resident_bytes(one.process);
    const double seconds = std::max(cpu_seconds(one.process) - one.cpu_seconds, 0.0);  // since the last look
    one.cpu_seconds += seconds;
    resident += bytes;
    cpu += seconds;
    if (i >= kMostRanks) continue;
    series_->set("cfm_rank_resident_bytes", bytes, {node_, one.rank});
    series_->add("cfm_rank_cpu_seconds_total", seconds, {node_, one.rank});
  }
  series_->set("cfm_node_resident_bytes", resident, {node_});
  series_->add("cfm_node_cpu_seconds_total", cpu, {node_});
  if (!of_run_) return;
  std::error_code error;
  const fs::space_info space = fs::space(config_.run_dir, error);
  if (!error) series_->set("cfm_disk_free_bytes", static_cast<double>(space.available));
  results_.look(*series_);
}

}  // namespace cfm::trainer
