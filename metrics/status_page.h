#pragma once
// A page for people who have no Grafana: progress, loss, where the time goes, the last samples; one file, without
// anything from elsewhere. It asks for /status.json every second or two.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "metrics/server.h"

namespace cfm::metrics {

// A step, as the page shows it.
struct StatusNumbers {
  int64_t step = 0, last_step = 0;
  double loss = 0, gradient_norm = 0, learning_rate = 0;
  double images_per_second = 0, eta_seconds = 0, step_seconds = 0;
  std::vector<std::pair<std::string, double>> phase_seconds;
};

class StatusPage {
 public:
  // Of a run that is to make so many steps.
  StatusPage(std::string run, int64_t last_step) : run_(std::move(run)) { now_.last_step = last_step; }
  // From the training thread. What a start is at: "data", "weights", "training".
  void put_stage(const std::string& stage);
  // Where this start begins: behind `step`, with the losses of steps up to there, ascending.
  void put_start(int64_t step, const std::vector<std::pair<int64_t, double>>& losses);
  // Keeps the numbers, and the loss for the curve.
  void put(const StatusNumbers& numbers);
  void put_checkpoint(int64_t step);
  void put_samples(const std::filesystem::path& png);
  // "/", "/status.json" and "/samples.png", for a Server. This must outlive it.
  std::map<std::string, std::function<Page()>> pages() const;

 private:
  std::string json() const;
  void add_to_curve(int64_t step, double loss);
  const std::string run_;
  mutable std::mutex mutex_;
  std::string stage_;
  StatusNumbers now_;
  int64_t checkpoint_ = 0;
  std::filesystem::path samples_;
  // The mean of every `stride_` losses, at the step of their last; when there are too many, neighbours are joined.
  std::vector<std::pair<int64_t, double>> curve_;
  int64_t stride_ = 1, in_sum_ = 0;
  double sum_ = 0;
};

}  // namespace cfm::metrics
