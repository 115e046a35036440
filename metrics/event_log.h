#pragma once
// RUN/events.jsonl: one JSON object a line, appended; every line has "time" (UTC, "2026-01-31T23:59:59.123Z"),
// "attempt" and "event", in this order. A line that is not JSON was torn by a crash or a full disk: readers skip it.
// docs/formats.md.

#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace cfm::metrics {

using EventValue = std::variant<double, int64_t, bool, std::string, std::vector<double>>;
using EventFields = std::initializer_list<std::pair<std::string, EventValue>>;

class EventLog {
 public:
  // Opens for appending; the attempt is one more than the largest in the file (a torn last line is closed off with a
  // newline). An empty path: an EventLog that writes nothing (ranks other than 0).
  explicit EventLog(const std::filesystem::path& file);
  ~EventLog();
  EventLog(const EventLog&) = delete;
  EventLog& operator=(const EventLog&) = delete;
  int64_t attempt() const { return attempt_; }
  // One write(2) per line. A failing write is warned of once and does not stop the run. Non-finite numbers become
  // strings.
  void write(const std::string& event, EventFields fields);

 private:
  std::filesystem::path file_;
  int descriptor_ = -1;
  int64_t attempt_ = 0;
  bool torn_ = false;  // the last line has no newline yet
  bool warned_ = false;
};

// The last start in a file, if it left neither a stop nor an end: it failed, was killed, or is still at work.
struct UnsaidEnd {
  int64_t attempt = 0;
  int64_t step = 0;                 // the largest that it wrote of
  std::string started, last_heard;  // times of its first and last line
};
std::optional<UnsaidEnd> unsaid_end(const std::filesystem::path& file);

}  // namespace cfm::metrics
