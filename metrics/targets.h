#pragma once
// How Prometheus finds a job: one file for each run and node in a folder that a single file_sd_config watches, there
// while the job runs. [https://prometheus.io/docs/prometheus/latest/configuration/configuration/#file_sd_config]

#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <string>
#include <thread>

namespace cfm::metrics {

struct TargetConfig {
  std::filesystem::path folder;
  std::string run, node;
  std::filesystem::path run_dir;  // a run of the same name in another folder is another target
  std::string address;            // "node7:9464": where Prometheus finds the endpoint
  std::string job;                // Slurm's number; empty without it
  std::chrono::milliseconds beat = std::chrono::minutes(5);  // how often it is kept fresh
};

// A file FOLDER/<target_name>.json, whose labels __cfm_target and __cfm_run_dir say whose it is; Prometheus drops
// labels that begin so. Written at once, kept fresh and, if somebody has removed it, written again on a thread of its
// own, removed at the end. A file that another start has written in its place is left to that. Of the other files
// there, those that have these labels and that nobody has kept fresh for an hour (by the file system's clock, not ours)
// are what killed jobs left: each beat removes them. Nothing here ends a run: what fails is warned of.
class Target {
 public:
  explicit Target(const TargetConfig& config);
  ~Target();
  Target(const Target&) = delete;
  Target& operator=(const Target&) = delete;
  const std::filesystem::path& file() const { return file_; }
  // The folder of a run that was at work under our name when we began, on any node; empty: there was none.
  const std::filesystem::path& namesake() const { return namesake_; }

 private:
  void write() const;
  void beat() const;
  void keep_fresh();
  const TargetConfig config_;
  const std::filesystem::path file_;
  const std::string text_;
  std::filesystem::path namesake_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool ending_ = false;
  std::thread thread_;  // last: it uses all of the above
};

// What files about a run on a node are called: "digits@node7-0f3a9c2e". Other characters than letters, digits, _ . and
// - become _, and long names are cut; the digits at the end tell names apart that have become the same, and runs of the
// same name in other folders.
std::string target_name(const std::string& run, const std::string& node, const std::filesystem::path& run_dir);

// A run's name as a part of a file's: as it is where it has such characters alone, else with digits at its end, too.
std::string file_name_of(const std::string& run);

}  // namespace cfm::metrics
