#include "base/log.h"

#include <unistd.h>

namespace cfm {
namespace {

void write_whole(int descriptor, std::string line) {
  line += '\n';
  size_t done = 0;
  while (done < line.size()) {
    const ssize_t written = ::write(descriptor, line.data() + done, line.size() - done);
    if (written <= 0) return;  // nobody reads: a closed pipe must not stop the work
    done += static_cast<size_t>(written);
  }
}

}  // namespace

void say(const std::string& text) { write_whole(STDOUT_FILENO, text); }
void warn(const std::string& text) { write_whole(STDERR_FILENO, "cfm: warning: " + text); }

}  // namespace cfm
