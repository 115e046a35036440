#pragma once
// A real Prometheus (Debian's) on loopback, as scripts/monitor starts it, asked over its HTTP interface.

#include <cctype>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "support/file_bytes.h"
#include "support/http.h"
#include "support/training_run.h"

namespace cfm::test {

class Prometheus {
 public:
  // Watches `targets`, with the configuration and the rules that are shipped, every second. Its files go under
  // `folder`.
  Prometheus(const std::filesystem::path& folder, const std::filesystem::path& targets)
      : config_(folder / "prometheus.yml"), port_(free_port()) {
    std::filesystem::create_directories(folder);
    server_ = std::make_unique<Running>(
        std::vector<std::string>{"env", "CFM_MONITOR_PORT=" + std::to_string(port_),
                                 "CFM_MONITOR_DATA=" + folder.string(), "CFM_MONITOR_INTERVAL=1s",
                                 CFM_SOURCE_DIR "/scripts/monitor", targets.string()},
        folder / "log");
    if (!wait_for([&] { return http_get(port_, "/-/ready").find(" 200 OK") != std::string::npos; }))
      throw std::runtime_error("Prometheus did not become ready: " + bytes_of(folder / "log"));
  }
  // The configuration that it was started with.
  const std::filesystem::path& config() const { return config_; }
  // What an instant query returns: its "result".
  nlohmann::json ask(const std::string& query) const {
    const nlohmann::json data = get("/api/v1/query?query=" + encoded(query));
    return data.is_object() ? data["result"] : nlohmann::json::array();
  }
  // Every rule that it has loaded: "name", "type", "query", "health" and more.
  std::vector<nlohmann::json> rules() const {
    const nlohmann::json data = get("/api/v1/rules");
    std::vector<nlohmann::json> rules;
    for (const nlohmann::json& group : data.at("groups"))
      for (const nlohmann::json& rule : group.at("rules")) rules.push_back(rule);
    return rules;
  }
  // The value of the first series of the answer; NaN if there is none.
  double value(const std::string& query) const {
    const nlohmann::json result = ask(query);
    return result.empty() ? std::nan("") : std::stod(result[0]["value"][1].get<std::string>());
  }
  // Whether it came true within a minute.
  static bool wait_for(const std::function<bool()>& what) {
    for (int i = 0; i < 600; ++i) {
      if (what()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
    return false;
  }

 private:
  // The "data" of what it answers; null if it does not, or not with success.
  nlohmann::json get(const std::string& path) const {
    const nlohmann::json answer = nlohmann::json::parse(body_of(http_get(port_, path)), nullptr, false);
    return answer.is_object() && answer.value("status", "") == "success" ? answer["data"] : nlohmann::json();
  }
  static std::string encoded(const std::string& text) {
    std::string out;
    for (const unsigned char c : text) {
      char hex[4];
      std::snprintf(hex, sizeof hex, "%%%02X", c);
      out += std::isalnum(c) != 0 ? std::string(1, static_cast<char>(c)) : hex;
    }
    return out;
  }
  std::filesystem::path config_;
  int port_;
  std::unique_ptr<Running> server_;
};

}  // namespace cfm::test
