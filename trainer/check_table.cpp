#include "trainer/check_table.h"

#include <algorithm>
#include <sstream>

#include "base/log.h"

namespace cfm::trainer {

void CheckTable::line(const char* mark, const std::string& what, const std::string& text) const {
  constexpr size_t kWidth = 10;
  if (session_.rank() != 0) return;
  say(std::string(mark) + what + std::string(kWidth - std::min(what.size(), kWidth - 1), ' ') + text);
}

void CheckTable::ok(const std::string& what, const std::string& text) { line("ok    ", what, text); }

void CheckTable::warn(const std::string& what, const std::string& text) {
  ++warnings_;
  line("warn  ", what, text);
}

void CheckTable::fail(const std::string& what, const std::string& text) {
  if (std::ranges::find(failed_, what) == failed_.end()) failed_.push_back(what);
  std::istringstream lines(text);
  for (std::string each; std::getline(lines, each);)
    line("FAIL  ", what, each.substr(std::min(each.find_first_not_of(' '), each.size())));
}

void CheckTable::ok_if(bool holds, const std::string& what, const std::string& text) {
  if (holds) {
    ok(what, text);
  } else {
    warn(what, text);
  }
}

bool CheckTable::attempt(const std::string& what, const std::function<void()>& work) try {
  parallel::agree_on(session_, work);
  return true;
} catch (const SharedError& error) {
  if (error.exit_code() == ExitCode::kRequeue) throw;
  fail(what, error.what());
  return false;
}

}  // namespace cfm::trainer
