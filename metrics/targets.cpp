#include "metrics/targets.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <system_error>
#include <utility>

#include "base/durable_file.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/stop_signal.h"

namespace cfm::metrics {
namespace {

namespace fs = std::filesystem;

constexpr std::chrono::minutes kStale(60);

bool is_legal(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' || c == '-';
}

std::string legal(std::string name, size_t most) {
  if (name.size() > most) name.resize(most);
  for (char& c : name)
    if (!is_legal(c)) c = '_';
  return name;
}

fs::path whole(const fs::path& run_dir) { return fs::absolute(run_dir).lexically_normal(); }

std::string text_of(const TargetConfig& config) {
  nlohmann::ordered_json labels{
      {"node", config.node}, {"__cfm_target", config.run}, {"__cfm_run_dir", whole(config.run_dir).string()}};
  if (!config.job.empty()) labels["slurm_job"] = config.job;
  const nlohmann::ordered_json target{{"targets", {config.address}}, {"labels", labels}};
  using Json = nlohmann::ordered_json;
  return Json::array({target}).dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

struct Mark {
  std::string run, run_dir;
};

// Whose target `file` is; nothing if it is none of ours.
std::optional<Mark> mark_of(const fs::path& file) {
  const nlohmann::json targets = nlohmann::json::parse(try_read_file(file).bytes, nullptr, /*allow_exceptions=*/false);
  if (!targets.is_array() || targets.size() != 1 || !targets[0].is_object()) return std::nullopt;
  const nlohmann::json labels = targets[0].value("labels", nlohmann::json::object());
  const auto text = [&](const char* label) {
    return labels.is_object() && labels.contains(label) && labels[label].is_string() ? labels[label].get<std::string>()
                                                                                     : std::string();
  };
  Mark mark{text("__cfm_target"), text("__cfm_run_dir")};
  if (mark.run.empty() || mark.run_dir.empty()) return std::nullopt;
  return mark;
}

// Calls `what(file, age)` for each target's file beside `fresh`, which has just been written, but for that itself.
template <class What>
void for_others(const fs::path& fresh, What what) {
  std::error_code error;
  const auto now = fs::last_write_time(fresh, error);
  if (error) return;
  for (fs::directory_iterator entry(fresh.parent_path(), error), end; !error && entry != end; entry.increment(error)) {
    const fs::path& file = entry->path();
    std::error_code gone;
    const auto written = fs::last_write_time(file, gone);
    if (!gone && file.extension() == ".json" && file != fresh) what(file, now - written);
  }
}

void remove_stale(const fs::path& fresh) {
  for_others(fresh, [](const fs::path& file, auto age) {
    std::error_code error;
    if (age > kStale && mark_of(file)) fs::remove(file, error);
  });
}

// The folder of a run of our name that is at work elsewhere. Jobs keep their files fresher than three beats.
fs::path namesake_of(const TargetConfig& config, const fs::path& fresh) {
  const std::string ours = whole(config.run_dir).string();
  fs::path found;
  for_others(fresh, [&](const fs::path& file, auto age) {
    if (age > 3 * config.beat) return;
    const std::optional<Mark> mark = mark_of(file);
    if (mark && mark->run == config.run && mark->run_dir != ours) found = mark->run_dir;
  });
  return found;
}

}  // namespace

std::string target_name(const std::string& run, const std::string& node, const fs::path& run_dir) {
  const std::string all = run + "\n" + node + "\n" + whole(run_dir).string();
  return legal(run, 100) + "@" + legal(node, 60) + "-" + xxh3_128_hex(all.data(), all.size()).substr(0, 8);
}

std::string file_name_of(const std::string& run) {
  const std::string name = legal(run, 100);
  return name == run ? name : name + "-" + xxh3_128_hex(run.data(), run.size()).substr(0, 8);
}

Target::Target(const TargetConfig& config)
    : config_(config),
      file_(config.folder / (target_name(config.run, config.node, config.run_dir) + ".json")),
      text_(text_of(config)) {
  try {
    write();
    namesake_ = namesake_of(config_, file_);
  } catch (const std::exception& e) {
    warn(std::string("Prometheus will not find this job by itself: ") + e.what());
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
  thread_.join();
  std::error_code error;
  if (try_read_file(file_).bytes == text_) fs::remove(file_, error);
}

void Target::write() const {
  fs::create_directories(config_.folder);
  write_durably(file_, text_);
}

// A job that is told to end may have had its file removed for good: by its batch script, in case it hangs.
void Target::beat() const {
  std::error_code error;
  const bool missing = !fs::exists(file_, error) && !error;
  if (missing ? raised_stop_signal() != 0 : try_read_file(file_).bytes != text_) return;
  try {
    write();
  } catch (const std::exception&) {  // a full disk: it may be taken for stale until there is room
  }
  remove_stale(file_);
}

void Target::keep_fresh() {
  std::unique_lock lock(mutex_);
  while (!wake_.wait_for(lock, config_.beat, [this] { return ending_; })) {
    lock.unlock();
    beat();
    lock.lock();
  }
}

}  // namespace cfm::metrics
