#include "checkpoint/unfinished.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <string_view>
#include <system_error>

#include "base/environment.h"
#include "base/number_text.h"

namespace cfm::checkpoint {
namespace {

namespace fs = std::filesystem;

constexpr auto kSurelyDead = std::chrono::hours(1);

// "4711" and "0" of step_000012000.4711.0.tmp; empty for a name without a job.
Writer writer_of(std::string_view name) {
  name.remove_suffix(std::string_view(kUnfinished).size());
  const size_t first = name.find('.'), last = name.rfind('.');
  if (first == last) return {};
  return {.job = std::string(name.substr(first + 1, last - first - 1)), .attempt = std::string(name.substr(last + 1))};
}

// Whether `job` is a process of this host that is no more.
bool has_ended(const std::string& job, const std::string& host) {
  if (!job.starts_with(host + "-")) return false;
  const char* const begin = job.data() + host.size() + 1;
  const char* const end = job.data() + job.size();
  pid_t process = 0;
  const auto [stop, error] = std::from_chars(begin, end, process);
  return error == std::errc() && stop == end && process > 0 && ::kill(process, 0) != 0 && errno == ESRCH;
}

fs::file_time_type last_change(const fs::path& folder) {
  fs::file_time_type last = fs::last_write_time(folder);
  for (const auto& entry : fs::directory_iterator(folder)) last = std::max(last, entry.last_write_time());
  return last;
}

}  // namespace

Writer this_writer(const std::string& host) {
  return {.job = from_environment("SLURM_JOB_ID", host + "-" + std::to_string(::getpid())),
          .attempt = from_environment("SLURM_RESTART_COUNT", "0")};
}

fs::path unfinished_folder(const fs::path& committed, const Writer& writer) {
  return committed.string() + "." + writer.job + "." + writer.attempt + kUnfinished;
}

bool is_abandoned(const fs::path& folder, const Writer& me, const std::string& host) {
  const std::string name = folder.filename().string();
  const Writer writer = writer_of(name);
  if (name.ends_with(kDeleted) || has_ended(writer.job, host)) return true;
  if (writer.job == me.job && number_or_zero(writer.attempt) <= number_or_zero(me.attempt)) return true;
  return fs::file_time_type::clock::now() - last_change(folder) > kSurelyDead;
}

}  // namespace cfm::checkpoint
