#include "metrics/status_page.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/durable_file.h"
#include "metrics/status_html.h"

namespace cfm::metrics {
namespace {

constexpr size_t kMostPoints = 800;

// JSON has no words for what is not finite.
nlohmann::json number(double value) { return std::isfinite(value) ? nlohmann::json(value) : nlohmann::json(); }

}  // namespace

void StatusPage::put_stage(const std::string& stage) {
  const std::lock_guard lock(mutex_);
  stage_ = stage;
}

void StatusPage::put_start(int64_t step, const std::vector<std::pair<int64_t, double>>& losses) {
  const std::lock_guard lock(mutex_);
  now_.step = step;
  for (const auto& [of, loss] : losses) add_to_curve(of, loss);
}

void StatusPage::put(const StatusNumbers& numbers) {
  const std::lock_guard lock(mutex_);
  now_ = numbers;
  add_to_curve(numbers.step, numbers.loss);
}

void StatusPage::add_to_curve(int64_t step, double loss) {
  if (!std::isfinite(loss)) return;  // it would take its neighbours along
  sum_ += loss;
  if (++in_sum_ < stride_) return;
  curve_.emplace_back(step, sum_ / static_cast<double>(in_sum_));
  sum_ = 0;
  in_sum_ = 0;
  if (curve_.size() < kMostPoints) return;
  for (size_t i = 0; i < kMostPoints / 2; ++i)
    curve_[i] = {curve_[2 * i + 1].first, (curve_[2 * i].second + curve_[2 * i + 1].second) / 2};
  curve_.resize(kMostPoints / 2);
  stride_ *= 2;
}

void StatusPage::put_checkpoint(int64_t step) {
  const std::lock_guard lock(mutex_);
  checkpoint_ = step;
}

void StatusPage::put_samples(const std::filesystem::path& png) {
  const std::lock_guard lock(mutex_);
  samples_ = png;
}

std::string StatusPage::json() const {
  const std::lock_guard lock(mutex_);
  nlohmann::json curve = nlohmann::json::array(), phases = nlohmann::json::array();
  for (const auto& [step, loss] : curve_) curve.push_back({step, number(loss)});
  for (const auto& [name, seconds] : now_.phase_seconds) phases.push_back({name, number(seconds)});
  return nlohmann::json{{"run", run_},
                        {"stage", stage_},
                        {"step", now_.step},
                        {"last_step", now_.last_step},
                        {"loss", number(now_.loss)},
                        {"gradient_norm", number(now_.gradient_norm)},
                        {"learning_rate", number(now_.learning_rate)},
                        {"images_per_second", number(now_.images_per_second)},
                        {"eta_seconds", number(now_.eta_seconds)},
                        {"step_seconds", number(now_.step_seconds)},
                        {"checkpoint", checkpoint_},
                        {"samples", samples_.filename().string()},
                        {"phases", phases},
                        {"losses", curve}}
      .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::map<std::string, std::function<Page()>> StatusPage::pages() const {
  return {{"/",
           [] {
             return Page{"text/html; charset=utf-8", kStatusHtml};
           }},
          {"/status.json",
           [this] {
             return Page{"application/json", json()};
           }},
          {"/samples.png", [this] {
             std::filesystem::path file;
             {
               const std::lock_guard lock(mutex_);
               file = samples_;
             }
             return Page{"image/png", file.empty() ? "" : read_file(file)};
           }}};
}

}  // namespace cfm::metrics
