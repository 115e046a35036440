#pragma once
// One exception type, and the exit codes that batch scripts act on.

#include <stdexcept>
#include <string>
#include <vector>

namespace cfm {

enum class ExitCode : int {
  kDone = 0,
  kRetry = 1,     // may be transient (a full disk, a dead node): retry, with a cap
  kWontWork = 2,  // would fail again the same way: flags, config, data, a mismatched checkpoint
  kRequeue = 75,  // stopped on a signal after saving: submit again
};

// The outside world is wrong. `what()` names the thing (file, dataset, flag, rank), what was found, what was expected
// and what to do about it.
class Error : public std::runtime_error {
 public:
  explicit Error(const std::string& what, ExitCode exit_code = ExitCode::kWontWork)
      : std::runtime_error(what), exit_code_(exit_code) {}
  ExitCode exit_code() const { return exit_code_; }

 private:
  ExitCode exit_code_;
};

// A fault that every rank meets alike (a bad flag, an agreed refusal): printed once, by rank 0.
class SharedError : public Error {
 public:
  using Error::Error;
};

// Throws Error(what, kWontWork) unless ok.
void check(bool ok, const std::string& what);

// All problems of a configuration, each a sentence that names the flag. Empty: it is valid.
using Problems = std::vector<std::string>;

// Throws SharedError listing every problem, unless there is none.
void check_no_problems(const Problems& problems);

}  // namespace cfm
