#include "base/process_facts.h"

#include <time.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <sstream>
#include <string>

namespace cfm {
namespace {

std::ifstream file_of(int process, const std::string& name) {
  return std::ifstream("/proc/" + std::to_string(process) + "/" + name);
}

// Seconds in field `number` of /proc/pid/stat, which counts in clock ticks. Fields are counted from 1; the second, a
// name, may hold anything. 0 if there is none.
double stat_seconds(int process, int number) {
  std::string text;
  std::ifstream file = file_of(process, "stat");
  std::getline(file, text);
  const size_t name_end = text.rfind(") ");
  if (name_end == std::string::npos) return 0;
  std::istringstream fields(text.substr(name_end + 2));
  std::string skipped;
  for (int field = 3; field < number; ++field) fields >> skipped;
  double ticks = 0;
  fields >> ticks;
  return ticks / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

}  // namespace

ProcessMemory process_memory(int process) {
  ProcessMemory memory;
  std::ifstream file = file_of(process, "status");
  for (std::string line; std::getline(file, line);) {
    const auto bytes = [&](const std::string& name) {  // "RssAnon:     1234 kB"
      return line.starts_with(name) ? 1024 * std::stoll(line.substr(name.size())) : 0;
    };
    memory.own += bytes("RssAnon:");
    memory.shared += bytes("RssShmem:");
  }
  return memory;
}

double process_cpu_seconds(int process) { return stat_seconds(process, 14) + stat_seconds(process, 15); }

double process_start_seconds() {
  timespec up{};  // since the machine's start, as field 22 is
  ::clock_gettime(CLOCK_BOOTTIME, &up);
  const double now = std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  const double started = stat_seconds(::getpid(), 22);
  const double age = static_cast<double>(up.tv_sec) + 1e-9 * static_cast<double>(up.tv_nsec) - started;
  return started > 0 && age > 0 ? now - age : now;
}

}  // namespace cfm
