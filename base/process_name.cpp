#include "base/process_name.h"

#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>

namespace cfm {

// [proc(5), /proc/pid/stat: the state is field 3, starttime field 22]
std::string process_name(pid_t process) {
  std::ifstream stat("/proc/" + std::to_string(process) + "/stat");
  std::string text;
  std::getline(stat, text);
  const size_t end = text.rfind(") ");
  if (end == std::string::npos || text[end + 2] == 'Z') return "";
  std::istringstream fields(text.substr(end + 2));
  std::string field;
  for (int i = 3; i <= 22; ++i) fields >> field;
  return std::to_string(process) + "-" + field;
}

std::string process_space() {
  std::string boot;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> boot;
  std::error_code error;
  return boot + " " + std::filesystem::read_symlink("/proc/self/ns/pid", error).string();
}

}  // namespace cfm
