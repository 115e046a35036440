#pragma once
// Runs a shell command for a test and keeps what it printed.

#include <sys/wait.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <memory>
#include <string>

namespace cfm::test {

struct CommandResult {
  int exit_code;       // 128 + n if a signal n ended it; 124 if it was still running after `limit_seconds`
  std::string output;  // standard output and error
  double seconds;
};

inline CommandResult run_command(const std::string& command, int limit_seconds = 60) {
  const auto start = std::chrono::steady_clock::now();
  const std::string whole =
      "timeout -k 5 " + std::to_string(limit_seconds) + " bash -c '" + command + "' 2>&1 </dev/null";
  FILE* pipe = ::popen(whole.c_str(), "r");
  if (pipe == nullptr) return {-1, "popen failed", 0};
  std::string output;
  std::array<char, 4096> buffer;
  while (const size_t n = std::fread(buffer.data(), 1, buffer.size(), pipe)) output.append(buffer.data(), n);
  const int status = ::pclose(pipe);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  return {WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status), output, seconds.count()};
}

}  // namespace cfm::test
