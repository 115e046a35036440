#pragma once
// A real Prometheus (Debian's) on loopback, asked over its HTTP interface.

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <thread>

#include "support/file_bytes.h"
#include "support/http.h"
#include "support/training_run.h"

namespace cfm::test {

class Prometheus {
 public:
  // Watches `targets` for file_sd files; scrapes every second. Files go under `folder`.
  Prometheus(const std::filesystem::path& folder, const std::filesystem::path& targets) : port_(free_port()) {
    std::filesystem::create_directories(folder);
    put_bytes(folder / "prometheus.yml",
              "global: {scrape_interval: 1s, evaluation_interval: 1s}\n"
              "rule_files: [" CFM_SOURCE_DIR "/metrics/prometheus/recording.yml, " CFM_SOURCE_DIR
              "/metrics/prometheus/alerts.yml]\n"
              "scrape_configs:\n- job_name: cfm\n  file_sd_configs:\n  - files: ['" +
                  targets.string() + "/*.json']\n    refresh_interval: 1s\n");
    server_ = std::make_unique<Running>(
        std::vector<std::string>{"prometheus", "--config.file=" + (folder / "prometheus.yml").string(),
                                 "--storage.tsdb.path=" + (folder / "data").string(),
                                 "--web.listen-address=127.0.0.1:" + std::to_string(port_), "--log.level=warn"},
        folder / "log");
    if (!wait_for([&] { return http_get(port_, "/-/ready").find(" 200 OK") != std::string::npos; }))
      throw std::runtime_error("Prometheus did not become ready: " + bytes_of(folder / "log"));
  }
  // What an instant query returns: its "result".
  nlohmann::json ask(const std::string& query) const {
    const nlohmann::json answer =
        nlohmann::json::parse(body_of(http_get(port_, "/api/v1/query?query=" + encoded(query))), nullptr, false);
    return answer.is_object() && answer.value("status", "") == "success" ? answer["data"]["result"]
                                                                         : nlohmann::json::array();
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
  static std::string encoded(const std::string& text) {
    std::string out;
    for (const unsigned char c : text) {
      char hex[4];
      std::snprintf(hex, sizeof hex, "%%%02X", c);
      out += std::isalnum(c) != 0 ? std::string(1, static_cast<char>(c)) : hex;
    }
    return out;
  }
  int port_;
  std::unique_ptr<Running> server_;
};

}  // namespace cfm::test
