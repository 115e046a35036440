#include "base/live_line.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string_view>

namespace cfm {
namespace {

void write_raw(std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(STDOUT_FILENO, text.data(), text.size());
    if (written <= 0) return;  // nobody reads: the work goes on
    text.remove_prefix(static_cast<size_t>(written));
  }
}

// Columns of the terminal; 0 where it does not say.
size_t terminal_columns() {
  winsize size{};
  return ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

// "/dev/pts/3", "/home/me/log", "pipe:[123]"; empty if it cannot be told.
std::string standard_output_of(long process) {
  std::error_code error;
  return std::filesystem::read_symlink("/proc/" + std::to_string(process) + "/fd/1", error).string();
}

long parent_of(long process) {
  std::ifstream status("/proc/" + std::to_string(process) + "/status");
  for (std::string word; status >> word;) {
    if (word == "PPid:" && status >> process) return process;
  }
  return 0;
}

// Standard output of the nearest process above that has another one than ours: the launcher's.
std::string launchers_standard_output() {
  std::string ours = standard_output_of(::getpid());
  for (long process = ::getppid(); process > 0; process = parent_of(process)) {
    std::string theirs = standard_output_of(process);
    if (theirs != ours) return theirs;
  }
  return ours;
}

}  // namespace

bool person_watches() {
  if (::isatty(STDOUT_FILENO) != 1) return false;
  if (std::getenv("OMPI_COMM_WORLD_RANK") == nullptr) return true;
  const std::string launchers = launchers_standard_output();
  return launchers.starts_with("/dev/pts/") || launchers.starts_with("/dev/tty");
}

void LiveLine::show(std::string text) {
  if (!live_) return;
  const size_t columns = terminal_columns();
  if (columns > 1) text.resize(std::min(text.size(), columns - 1));
  write_raw("\r" + text + "\x1b[K");
  shown_ = true;
}

void LiveLine::end() {
  if (shown_) write_raw("\n");
  shown_ = false;
}

}  // namespace cfm
