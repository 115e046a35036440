#pragma once
// A real browser (Debian's Chromium, headless) with one page open, asked by DevTools over two pipes.
// [https://chromedevtools.github.io/devtools-protocol/]

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/training_run.h"

namespace cfm::test {

class Browser {
 public:
  // Opens `url`. The browser's files go under `folder`, which is made; it ends with this.
  Browser(const std::filesystem::path& folder, const std::string& url)
      : to_(pipe_in(folder, "in")), from_(pipe_in(folder, "out")), process_(command(folder), folder / "log") {
    const nlohmann::json target = call("Target.createTarget", {{"url", url}}).at("targetId");
    session_ = call("Target.attachToTarget", {{"targetId", target}, {"flatten", true}}).at("sessionId");
  }
  ~Browser() {
    ::close(to_);
    ::close(from_);
  }
  Browser(const Browser&) = delete;
  Browser& operator=(const Browser&) = delete;
  // What a JavaScript expression is in the page as it stands now; null if it cannot be had.
  nlohmann::json value(const std::string& expression) {
    const nlohmann::json answer = call("Runtime.evaluate", {{"expression", expression}, {"returnByValue", true}});
    return answer.at("result").value("value", nlohmann::json());
  }

 private:
  // Chromium reads its file 3 and writes its file 4. Opened for both ways, a named pipe waits for nobody.
  static int pipe_in(const std::filesystem::path& folder, const char* name) {
    std::filesystem::create_directories(folder);
    const std::filesystem::path pipe = folder / name;
    const int file = ::mkfifo(pipe.c_str(), 0600) == 0 ? ::open(pipe.c_str(), O_RDWR | O_CLOEXEC) : -1;
    if (file < 0) throw std::runtime_error("no pipe " + pipe.string());
    return file;
  }
  static std::vector<std::string> command(const std::filesystem::path& folder) {
    return {"bash", "-c",
            R"(cd "$1" && exec chromium --headless --no-sandbox --disable-gpu --user-data-dir="$1/profile" )"
            R"(--remote-debugging-pipe 3<in 4>out)",
            "bash", folder.string()};
  }
  nlohmann::json call(const std::string& method, const nlohmann::json& parameters) {
    nlohmann::json message{{"id", ++calls_}, {"method", method}, {"params", parameters}};
    if (!session_.empty()) message["sessionId"] = session_;
    const std::string text = message.dump();
    if (::write(to_, text.c_str(), text.size() + 1) != static_cast<ssize_t>(text.size() + 1))
      throw std::runtime_error("the browser takes no message");
    for (;;) {  // events come between
      const nlohmann::json answer = nlohmann::json::parse(next_message());
      if (answer.value("id", 0) != calls_) continue;
      if (!answer.contains("result")) throw std::runtime_error(method + ": " + answer.dump());
      return answer.at("result");
    }
  }
  // Each ends with a zero byte.
  std::string next_message() {
    for (;;) {
      if (const size_t end = heard_.find('\0'); end != std::string::npos) {
        const std::string message = heard_.substr(0, end);
        heard_.erase(0, end + 1);
        return message;
      }
      pollfd ready{.fd = from_, .events = POLLIN, .revents = 0};
      char buffer[65536];
      const ssize_t n = ::poll(&ready, 1, 60'000) == 1 ? ::read(from_, buffer, sizeof buffer) : 0;
      if (n <= 0) throw std::runtime_error("the browser says nothing for a minute");
      heard_.append(buffer, static_cast<size_t>(n));
    }
  }
  int to_, from_;
  Running process_;
  std::string session_, heard_;
  int calls_ = 0;
};

}  // namespace cfm::test
