#include "metrics/event_log.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/durable_file.h"
#include "base/log.h"
#include "base/utc.h"

namespace cfm::metrics {
namespace {

using Json = nlohmann::ordered_json;

struct WhatIsThere {
  int64_t last_attempt = 0, last_step = 0;  // of that attempt
  std::string started, last_heard, last_event;
  bool torn = false;
};

std::string text_of(const Json& event, const char* key) {
  const auto value = event.find(key);
  return value != event.end() && value->is_string() ? value->get<std::string>() : "";
}

// A torn line counts for nothing: it is not JSON.
WhatIsThere read_back(const std::filesystem::path& file) {
  WhatIsThere there;
  std::ifstream in(file, std::ios::binary);
  std::string line;
  while (std::getline(in, line)) {
    there.torn = in.eof();  // getline met the end before a newline
    const Json event = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!event.is_object()) continue;
    const auto attempt = event.find("attempt");
    if (attempt == event.end() || !attempt->is_number_integer()) continue;
    if (attempt->get<int64_t>() > there.last_attempt) {
      there.last_step = 0;
      there.started = text_of(event, "time");
    }
    there.last_heard = text_of(event, "time");
    there.last_event = text_of(event, "event");
    there.last_attempt = std::max(there.last_attempt, attempt->get<int64_t>());
    if (const auto step = event.find("step"); step != event.end() && step->is_number_integer())
      there.last_step = std::max(there.last_step, step->get<int64_t>());
  }
  return there;
}

template <class Value>
Json json_of(const Value& value) {
  return value;
}

Json json_of(double number) {
  if (std::isnan(number)) return "nan";
  if (std::isinf(number)) return number > 0 ? "inf" : "-inf";
  return number;
}

Json json_of(const std::vector<double>& numbers) {
  Json array = Json::array();
  for (const double number : numbers) array.push_back(json_of(number));
  return array;
}

}  // namespace

EventLog::EventLog(const std::filesystem::path& file) : file_(file) {
  if (file.empty()) return;
  descriptor_ = open_to_append(file);
  const WhatIsThere there = read_back(file);
  attempt_ = there.last_attempt + 1;
  torn_ = there.torn;
}

EventLog::~EventLog() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

std::optional<UnsaidEnd> unsaid_end(const std::filesystem::path& file) {
  const WhatIsThere there = read_back(file);
  if (there.last_attempt == 0 || there.last_event == "stop" || there.last_event == "end") return {};
  return UnsaidEnd{there.last_attempt, there.last_step, there.started, there.last_heard};
}

void EventLog::write(const std::string& event, EventFields fields) {
  if (descriptor_ < 0) return;
  Json object{{"time", utc_text()}, {"attempt", attempt_}, {"event", event}};
  for (const auto& [name, value] : fields)
    object[name] = std::visit([](const auto& held) { return json_of(held); }, value);
  const std::string line = (torn_ ? "\n" : "") + object.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
  ssize_t written = 0;
  do {
    written = ::write(descriptor_, line.data(), line.size());
  } while (written < 0 && errno == EINTR);
  if (written == static_cast<ssize_t>(line.size())) {
    torn_ = false;
    return;
  }
  torn_ = torn_ || written > 0;
  if (!warned_) {
    warn("cannot append to " + file_.string() + ": " + (written < 0 ? std::strerror(errno) : "the disk is full") +
         ". The run goes on; events are missing from here.");
  }
  warned_ = true;
}

}  // namespace cfm::metrics
