#pragma once
// The processes of a job that a test has started, by /proc.

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

namespace cfm::test {

// Processes of `program` that descend from `job`, or are it, but not those that they have forked themselves: a job's
// ranks, oldest first.
inline std::vector<int> ranks_below(int job, const std::string& program) {
  struct Process {
    int parent = 0;
    std::string name;
  };
  std::map<int, Process> all;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string number = entry.path().filename().string();
    if (!std::all_of(number.begin(), number.end(), [](unsigned char c) { return std::isdigit(c) != 0; })) continue;
    std::string command, stat;
    std::ifstream(entry.path() / "cmdline") >> command;
    std::getline(std::ifstream(entry.path() / "stat"), stat);
    const size_t end = stat.rfind(") ");
    if (end == std::string::npos) continue;
    char state = 0;
    Process process;
    std::istringstream(stat.substr(end + 2)) >> state >> process.parent;
    process.name = std::filesystem::path(command.c_str()).filename().string();  // up to the first zero byte
    all[std::stoi(number)] = process;
  }
  const auto known = [&](int number) {
    const auto found = all.find(number);
    return found == all.end() ? Process() : found->second;
  };
  std::vector<int> ranks;
  for (const auto& [number, process] : all) {
    if (process.name != program || known(process.parent).name == program) continue;
    int above = number;
    while (above > 1 && above != job) above = known(above).parent;
    if (above == job) ranks.push_back(number);
  }
  return ranks;
}

}  // namespace cfm::test
