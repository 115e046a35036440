#include "base/failpoint.h"

#include <signal.h>

#include <atomic>
#include <charconv>
#include <chrono>
#include <optional>
#include <sstream>
#include <string>
#include <thread>

#include "base/environment.h"
#include "base/no_room.h"

namespace cfm {
namespace {

struct Failpoint {
  std::string operation, part;
  int number = 0;
  std::string action;
};

std::optional<Failpoint> from_environment_variable() {
  const std::string text = from_environment("CFM_FAIL_AT");
  if (text.empty()) return {};
  Failpoint point;
  std::string number;
  std::istringstream fields(text);
  std::getline(fields, point.operation, ':');
  std::getline(fields, point.part, ':');
  std::getline(fields, number, ':');
  std::getline(fields, point.action);
  std::from_chars(number.data(), number.data() + number.size(), point.number);
  check(point.number > 0 && !point.action.empty(), "CFM_FAIL_AT=" + text + ": expected OPERATION:PART:N:ACTION");
  return point;
}

}  // namespace

void failpoint(const char* operation, const std::filesystem::path& path) {
  static const std::optional<Failpoint> point = from_environment_variable();
  if (!point || point->operation != operation || path.string().find(point->part) == std::string::npos) return;
  static std::atomic<int> met = 0;
  if (++met != point->number) return;
  if (point->action == "kill") ::raise(SIGKILL);
  const std::string what = "cannot " + point->operation + " " + path.string() + ": asked to fail by CFM_FAIL_AT";
  if (point->action == "fail") throw Error(what, ExitCode::kRetry);
  if (point->action == "full") throw NoRoom(what);
  while (!std::filesystem::exists(point->action)) std::this_thread::sleep_for(std::chrono::milliseconds(5));
}

}  // namespace cfm
