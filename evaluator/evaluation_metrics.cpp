#include "evaluator/evaluation_metrics.h"

#include <array>

#include "base/durable_file.h"
#include "base/log.h"
#include "metrics/result_numbers.h"
#include "metrics/targets.h"

namespace cfm::evaluator {
namespace {

namespace fs = std::filesystem;

constexpr std::array kGauges{"cfm_evaluation_images", "cfm_evaluation_last_image", "cfm_evaluation_eta_seconds",
                             "cfm_evaluation_time_seconds"};

double now() { return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count(); }

}  // namespace

Problems MetricsConfig::validate() const {
  Problems problems = metrics::push_problems(push);
  if (!textfile.empty() && textfile.extension() != ".prom" && !fs::is_directory(textfile))
    problems.push_back("--metrics_textfile=" + textfile.string() +
                       ": expected a folder that is there, or a name that ends in .prom, which is what node_exporter "
                       "reads");
  return problems;
}

EvaluationMetrics::EvaluationMetrics(const MetricsConfig& config, const fs::path& evaluated, bool enabled)
    : config_(config), run_(metrics::run_name(config.run, evaluated)), enabled_(enabled && config.on()) {
  if (!enabled_) return;
  all_ = std::make_unique<metrics::Series>(run_, config.program);
  if (!config.push.empty()) gateway_ = std::make_unique<metrics::PushGateway>(config.push, config.program);
}

EvaluationMetrics::~EvaluationMetrics() = default;

void EvaluationMetrics::begin(const ResultFile& file, int64_t images) {
  if (!enabled_) return;
  told_.push_back({file, {}});
  if (told_.size() > kMost) {
    forget(told_.front());
    told_.pop_front();
  }
  images_ = images;
  first_ = -1;
  one_ = std::make_unique<metrics::Series>(run_, config_.program);
}

void EvaluationMetrics::progress(int64_t images) {
  if (!enabled_) return;
  const Clock::time_point at = Clock::now();
  if (first_ < 0) {
    first_ = images;
    begun_ = next_ = at;
  }
  if (at < next_) return;
  next_ = at + config_.every;
  set("cfm_evaluation_images", static_cast<double>(images));
  set("cfm_evaluation_last_image", static_cast<double>(images_));
  if (images > first_) {
    const double seconds = std::chrono::duration<double>(at - begun_).count();
    set("cfm_evaluation_eta_seconds",
        seconds * static_cast<double>(images_ - images) / static_cast<double>(images - first_));
  }
  publish();
}

void EvaluationMetrics::result() {
  if (!enabled_) return;
  set("cfm_evaluation_images", static_cast<double>(images_));
  set("cfm_evaluation_last_image", static_cast<double>(images_));
  set("cfm_evaluation_eta_seconds", 0);
  auto& [file, results] = told_.back();
  for (const auto& [metric, value] : metrics::result_numbers(try_read_file(file.json()).bytes)) {
    for (metrics::Series* series : {all_.get(), one_.get()})
      series->set("cfm_result", value, {metric, std::to_string(file.step), file.tag});
    results.push_back(metric);
  }
  publish();
}

void EvaluationMetrics::forget(const Told& told) {
  const std::string step = std::to_string(told.file.step);
  for (const char* const gauge : kGauges) all_->remove(gauge, {told.file.metric, step, told.file.tag});
  for (const std::string& metric : told.results) all_->remove("cfm_result", {metric, step, told.file.tag});
  std::error_code stays;
  if (in_folder()) fs::remove(file_in_folder(told.file), stays);
}

bool EvaluationMetrics::in_folder() const {
  std::error_code none;
  return fs::is_directory(config_.textfile, none);
}
fs::path EvaluationMetrics::file_in_folder(const ResultFile& file) const {
  return config_.textfile / (metrics::file_name_of(run_) + "-" + file.name() + ".prom");
}

void EvaluationMetrics::set(const char* gauge, double value) {
  const ResultFile& file = told_.back().file;
  for (metrics::Series* series : {all_.get(), one_.get()})
    series->set(gauge, value, {file.metric, std::to_string(file.step), file.tag});
}

void EvaluationMetrics::publish() {
  set("cfm_evaluation_time_seconds", now());
  const ResultFile& file = told_.back().file;
  if (gateway_) gateway_->push(*one_, {{"run", run_}, {"step", std::to_string(file.step)}, {"tag", file.tag}});
  if (config_.textfile.empty()) return;
  try {
    if (in_folder()) {
      write_durably(file_in_folder(file), one_->text());
    } else {
      write_durably(config_.textfile, all_->text());
    }
  } catch (const std::exception& e) {
    if (!warned_) warn(std::string("metrics: ") + e.what() + ". The evaluation goes on");
    warned_ = true;
  }
}

}  // namespace cfm::evaluator
