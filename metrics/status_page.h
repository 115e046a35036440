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
  explicit StatusPage(std::string run) : run_(std::move(run)) {}
  // From the training thread: keeps the numbers, and the loss for the curve.
  void put(const StatusNumbers& numbers);
  void put_checkpoint(int64_t step);
  void put_samples(const std::filesystem::path& png);
  // "/", "/status.json" and "/samples.png", for a Server. This must outlive it.
  std::map<std::string, std::function<Page()>> pages() const;

 private:
  std::string json() const;
  const std::string run_;
  mutable std::mutex mutex_;
  StatusNumbers now_;
  int64_t checkpoint_ = 0;
  std::filesystem::path samples_;
  // The mean loss of every `stride_` steps, at their last; when there are too many, neighbours are joined.
  std::vector<std::pair<int64_t, double>> curve_;
  int64_t stride_ = 1, in_sum_ = 0;
  double sum_ = 0;
};

}  // namespace cfm::metrics
