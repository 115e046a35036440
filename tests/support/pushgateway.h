#pragma once
// A real Pushgateway (Debian's) on loopback.

#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>

#include "support/file_bytes.h"
#include "support/http.h"
#include "support/prometheus.h"
#include "support/training_run.h"

namespace cfm::test {

class Pushgateway {
 public:
  explicit Pushgateway(const std::filesystem::path& folder) : port_(free_port()) {
    server_ = std::make_unique<Running>(
        std::vector<std::string>{"prometheus-pushgateway", "--web.listen-address=127.0.0.1:" + std::to_string(port_)},
        folder / "pushgateway.log");
    if (!Prometheus::wait_for([&] { return http_get(port_, "/-/ready").find(" 200 OK") != std::string::npos; }))
      throw std::runtime_error("the Pushgateway did not become ready: " + bytes_of(folder / "pushgateway.log"));
  }
  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  // What Prometheus would scrape.
  std::string metrics() const { return body_of(http_get(port_, "/metrics")); }

 private:
  int port_;
  std::unique_ptr<Running> server_;
};

}  // namespace cfm::test
