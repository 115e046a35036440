#pragma once
// For tests that read and write files: a folder that goes away, programs that are run, and errors whose words are
// checked.

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>
#include <string>
#include <vector>

#include "base/error.h"
#include "support/scratch_directory.h"

namespace cfm::tests {

struct ProgramResult {
  int exit_code;
  std::string output;  // standard output and error
};

// Runs a command line of the shell.
inline ProgramResult run_program(const std::string& command) {
  FILE* pipe = ::popen((command + " 2>&1").c_str(), "r");
  std::string output;
  std::array<char, 4096> piece;
  for (size_t got = 0; (got = std::fread(piece.data(), 1, piece.size(), pipe)) > 0;) output.append(piece.data(), got);
  const int status = ::pclose(pipe);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, output};
}

inline std::string bytes_of(const std::filesystem::path& file) {
  std::ostringstream bytes;
  bytes << std::ifstream(file, std::ios::binary).rdbuf();
  return bytes.str();
}

inline void write_bytes(const std::filesystem::path& file, const std::string& bytes) {
  std::ofstream(file, std::ios::binary) << bytes;
}

// Expects `action` to throw cfm::Error (exit code 2) whose text has all of `words`.
inline void expect_refusal(const std::function<void()>& action, const std::vector<std::string>& words,
                           ExitCode exit_code = ExitCode::kWontWork) {
  try {
    action();
    ADD_FAILURE() << "nothing was refused; expected an error with: " << ::testing::PrintToString(words);
  } catch (const Error& error) {
    for (const std::string& word : words)
      EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << "no '" << word << "' in: " << error.what();
    EXPECT_EQ(error.exit_code(), exit_code);
  }
}

}  // namespace cfm::tests
