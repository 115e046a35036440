#pragma once
// How far an evaluator is and what it found, for Prometheus: by a text file, or a Pushgateway. docs/metrics.md.

#include <chrono>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "evaluator/result_file.h"
#include "metrics/push_gateway.h"
#include "metrics/series.h"

namespace cfm::evaluator {

struct MetricsConfig {
  std::filesystem::path textfile;          // FILE.prom, or a folder in which each evaluation has a file; empty: none
  std::string push{};                      // http://HOST:PORT of a Pushgateway; empty: none
  std::string run{};                       // the label `run`; empty: of the folder that is evaluated
  std::string program;                     // the label `program`: the job's name
  std::chrono::milliseconds every{10000};  // how often progress is written
  bool on() const { return !textfile.empty() || !push.empty(); }
  Problems validate() const;
};

class EvaluationMetrics {
 public:
  static constexpr size_t kMost = 200;  // evaluations of a job that are told: the newest

  // `evaluated`: what the label `run` is called by if `config` does not say. Does nothing unless `enabled`: on rank 0.
  EvaluationMetrics(const MetricsConfig& config, const std::filesystem::path& evaluated, bool enabled);
  ~EvaluationMetrics();
  EvaluationMetrics(const EvaluationMetrics&) = delete;
  EvaluationMetrics& operator=(const EvaluationMetrics&) = delete;
  // What comes now is of this result, of so many images or samples.
  void begin(const ResultFile& file, int64_t images);
  // `images`: of all, those of earlier starts included; the speed is that of this one. To be called as often as one
  // likes: it is written only every `every`.
  void progress(int64_t images);
  // The result file is there.
  void result();

 private:
  using Clock = std::chrono::steady_clock;
  void set(const char* gauge, double value);
  struct Told {
    ResultFile file;
    std::vector<std::string> results;  // cfm_result's `metric`
  };
  void forget(const Told& told);
  bool in_folder() const;
  std::filesystem::path file_in_folder(const ResultFile& file) const;
  void publish();
  const MetricsConfig config_;
  const std::string run_;
  const bool enabled_;
  std::unique_ptr<metrics::Series> all_;  // of this job
  std::unique_ptr<metrics::Series> one_;  // of this evaluation
  std::unique_ptr<metrics::PushGateway> gateway_;
  std::deque<Told> told_;            // the last is the one under way
  int64_t images_ = 0, first_ = -1;  // in all; done when this start first said so
  Clock::time_point begun_, next_;
  bool warned_ = false;
};

}  // namespace cfm::evaluator
