#include "parallel/failure_log.h"

#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <system_error>

#include "base/durable_file.h"
#include "base/environment.h"
#include "base/utc.h"

namespace cfm::parallel {
namespace {

using Json = nlohmann::ordered_json;

uintmax_t size_of(const std::filesystem::path& file) {
  std::error_code error;
  const uintmax_t size = std::filesystem::file_size(file, error);
  return error ? 0 : size;
}

Json json_of(const RankSeen& seen) {
  if (seen.rank < 0) return {{"step", seen.step}};
  Json json{{"rank", seen.rank}, {"host", seen.host}};
  if (seen.phase.empty()) return json;
  const auto idle =
      std::chrono::duration_cast<std::chrono::system_clock::duration>(std::chrono::duration<double>(seen.idle_seconds));
  json["phase"] = seen.phase;
  json["step"] = seen.step;
  json["since"] = utc_text(std::chrono::system_clock::now() - idle);
  json["seconds"] = seen.idle_seconds;
  if (seen.finished) json["finished"] = true;
  return json;
}

}  // namespace

void FailureLog::write_to(std::filesystem::path file) {
  const std::lock_guard lock(mutex_);
  file_ = std::move(file);
  size_at_start_ = size_of(file_);
}

bool FailureLog::writes() const {
  const std::lock_guard lock(mutex_);
  return !file_.empty();
}

bool FailureLog::has_grown() const {
  const std::lock_guard lock(mutex_);
  return size_of(file_) > size_at_start_;
}

void FailureLog::leave() {
  const std::lock_guard lock(mutex_);
  file_.clear();
}

void FailureLog::enter(const char* phase, int64_t step) {
  const std::lock_guard lock(mutex_);
  phase_ = phase;
  step_ = step;
  since_ = Clock::now();
}

RankSeen FailureLog::here() const {
  const std::lock_guard lock(mutex_);
  return {.rank = rank_,
          .host = host_,
          .phase = phase_,
          .step = step_,
          .idle_seconds = std::chrono::duration<double>(Clock::now() - since_).count(),
          .finished = false};
}

void FailureLog::record(const std::string& cause, const std::string& what, const RankSeen& culprit, ExitCode exit_code,
                        const std::vector<RankSeen>& all) const noexcept try {
  const std::lock_guard lock(mutex_);
  if (file_.empty()) return;
  Json json{{"time", utc_text()}, {"cause", cause}, {"told_by", rank_}};
  json.update(json_of(culprit));
  json["exit_code"] = static_cast<int>(exit_code);
  if (const std::string job = from_environment("SLURM_JOB_ID"); !job.empty()) {
    json["slurm_job"] = job;
    json["slurm_restart"] = from_environment("SLURM_RESTART_COUNT", "0");
  }
  json["what"] = what;
  if (!all.empty()) {
    json["ranks"] = Json::array();
    for (const RankSeen& seen : all) json["ranks"].push_back(json_of(seen));
  }
  const std::string line = json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
  const int descriptor = open_to_append(file_);
  [[maybe_unused]] const ssize_t written = ::write(descriptor, line.data(), line.size());
  ::fsync(descriptor);  // the machine may be about to go
  ::close(descriptor);
} catch (...) {
}

std::string FailureLog::last_time() const {
  const std::lock_guard lock(mutex_);
  std::string time;
  std::ifstream in(file_, std::ios::binary);
  for (std::string line; std::getline(in, line);) {
    const Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (json.is_object() && json.contains("time") && json["time"].is_string()) time = json["time"];
  }
  return time;
}

}  // namespace cfm::parallel
