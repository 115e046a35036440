#pragma once
// How Prometheus finds a job: one file for each run and node in a folder that a single file_sd_config watches, there
// while the job runs. [https://prometheus.io/docs/prometheus/latest/configuration/configuration/#file_sd_config]

#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <string>
#include <thread>

namespace cfm::metrics {

struct TargetConfig {
  std::filesystem::path folder;  // FOLDER/<run>-<node>.json
  std::string run, node;
  std::string address;  // "node7:9464": where Prometheus finds the endpoint
  std::string job;      // Slurm's number; empty without it
};

// Writes the file, keeps it fresh on a thread of its own, removes it at the end unless another start has written it
// anew. Files of others that have not been kept fresh for an hour are what killed jobs left: they are removed (by the
// file system's clock, not ours). Nothing here ends a run: what fails is warned of.
class Target {
 public:
  explicit Target(const TargetConfig& config);
  ~Target();
  Target(const Target&) = delete;
  Target& operator=(const Target&) = delete;
  const std::filesystem::path& file() const { return file_; }

 private:
  void keep_fresh();
  std::filesystem::path file_;
  std::string text_;
  bool written_ = false;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool ending_ = false;
  std::thread thread_;  // last: it uses all of the above
};

// The name of a target's file: other characters than letters, digits, _ . and - become _.
std::string target_name(const std::string& run, const std::string& node);

}  // namespace cfm::metrics
