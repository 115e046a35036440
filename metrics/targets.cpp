#include "metrics/targets.h"

#include <chrono>
#include <nlohmann/json.hpp>
#include <system_error>

#include "base/durable_file.h"
#include "base/error.h"
#include "base/log.h"

namespace cfm::metrics {
namespace {

namespace fs = std::filesystem;

constexpr std::chrono::minutes kFresh(5), kStale(60);

bool is_legal(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' || c == '-';
}

std::string text_of(const TargetConfig& config) {
  nlohmann::ordered_json labels{{"node", config.node}};
  if (!config.job.empty()) labels["slurm_job"] = config.job;
  const nlohmann::ordered_json target{{"targets", {config.address}}, {"labels", labels}};
  return nlohmann::ordered_json::array({target}).dump(1) + "\n";
}

std::string bytes_or_nothing(const fs::path& file) {
  try {
    return read_file(file);
  } catch (const Error&) {
    return "";
  }
}

// `fresh`: a file that has just been written there.
void remove_stale(const fs::path& fresh) {
  std::error_code error;
  const auto now = fs::last_write_time(fresh, error);
  if (error) return;
  for (const auto& entry : fs::directory_iterator(fresh.parent_path(), error)) {
    if (entry.path().extension() != ".json") continue;
    const auto written = fs::last_write_time(entry.path(), error);
    if (!error && now - written > kStale) fs::remove(entry.path(), error);
  }
}

}  // namespace

std::string target_name(const std::string& run, const std::string& node) {
  std::string name = run + "-" + node + ".json";
  for (char& c : name)
    if (!is_legal(c)) c = '_';
  return name;
}

Target::Target(const TargetConfig& config)
    : file_(config.folder / target_name(config.run, config.node)), text_(text_of(config)) {
  try {
    fs::create_directories(config.folder);
    write_durably(file_, text_);
    written_ = true;
  } catch (const std::exception& e) {
    warn(std::string("Prometheus will not find this job by itself: ") + e.what());
    return;
  }
  remove_stale(file_);
  thread_ = std::thread([this] { keep_fresh(); });
}

Target::~Target() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
  std::error_code error;
  if (written_ && bytes_or_nothing(file_) == text_) fs::remove(file_, error);
}

void Target::keep_fresh() {
  for (;;) {
    std::unique_lock lock(mutex_);
    if (wake_.wait_for(lock, kFresh, [this] { return ending_; })) return;
    if (bytes_or_nothing(file_) != text_) continue;  // a later start has its own
    try {
      write_durably(file_, text_);
    } catch (const std::exception&) {  // a full disk: it may be taken for stale, no more
    }
  }
}

}  // namespace cfm::metrics
