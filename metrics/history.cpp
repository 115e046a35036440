#include "metrics/history.h"

#include <time.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iomanip>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

namespace cfm::metrics {
namespace {

using Json = nlohmann::json;

// Seconds since 1970 of "2026-01-31T23:59:59.123Z"; NaN if it is no such text.
double seconds_of(const std::string& utc) {
  std::tm date{};
  double fraction = 0;
  std::istringstream in(utc);
  in >> std::get_time(&date, "%Y-%m-%dT%H:%M:%S") >> fraction;
  return in ? static_cast<double>(::timegm(&date)) + fraction : std::nan("");
}

// A line of the file, as far as it matters here.
struct Event {
  int64_t attempt = 0, step = -1;  // -1: it names none
  std::string name, time;
  double loss = NAN;
};

Event event_of(const std::string& line) {
  const Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  Event event;
  if (!json.is_object()) return event;
  const auto put = [&](const char* key, auto& value, bool (Json::*is_one)() const) {
    if (const auto found = json.find(key); found != json.end() && ((*found).*is_one)()) found->get_to(value);
  };
  put("attempt", event.attempt, &Json::is_number_integer);
  put("step", event.step, &Json::is_number_integer);
  put("event", event.name, &Json::is_string);
  put("time", event.time, &Json::is_string);
  put("loss", event.loss, &Json::is_number);
  return event;
}

}  // namespace

History history_before(const std::filesystem::path& events, int64_t step) {
  std::map<int64_t, double> losses;
  int64_t attempt = 0, last_step = 0;  // of the last start
  std::string reached, heard;          // when it was at `step`, or began behind it; its last sign of life
  std::ifstream in(events, std::ios::binary);
  for (std::string line; std::getline(in, line);) {
    const Event event = event_of(line);
    if (event.attempt <= 0) continue;
    if (event.attempt > attempt) {
      attempt = event.attempt;
      last_step = 0;
      reached = event.time;
    }
    heard = event.time;
    last_step = std::max(last_step, event.step);
    const bool starts = event.name == "start", steps = event.name == "step";
    if ((starts || steps) && event.step <= step) reached = event.time;
    if (starts) losses.erase(losses.upper_bound(event.step), losses.end());
    if (steps && std::isfinite(event.loss)) losses[event.step] = event.loss;
  }
  losses.erase(losses.upper_bound(step), losses.end());
  History history{.losses = {losses.begin(), losses.end()}};
  history.lost_steps = std::max<int64_t>(last_step - step, 0);
  const double seconds = seconds_of(heard) - seconds_of(reached);
  if (history.lost_steps > 0 && seconds > 0) history.lost_seconds = seconds;
  return history;
}

}  // namespace cfm::metrics
