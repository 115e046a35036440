#include "metrics/exporter.h"

#include <optional>

#include "base/durable_file.h"
#include "base/log.h"
#include "metrics/targets.h"

namespace cfm::metrics {
namespace {

constexpr std::chrono::seconds kTextfileEvery(10);

bool is_loopback(const std::string& address) { return address.starts_with("127.") || address == "[::1]"; }

}  // namespace

struct Exporter::Endpoint {
  Server server;
  std::optional<Target> target;
};

Problems ExporterConfig::validate() const {
  Problems problems;
  try {
    if (!listen.empty()) address_and_port(listen);
  } catch (const Error& e) {
    problems.emplace_back(e.what());
  }
  if (!textfile.empty() && textfile.extension() != ".prom")
    problems.push_back("--metrics_textfile=" + textfile.string() +
                       ": expected a name that ends in .prom, which is what node_exporter reads");
  return problems;
}

Exporter::Exporter(const ExporterConfig& config, const Series& series,
                   std::map<std::string, std::function<Page()>> pages)
    : config_(config), series_(series) {
  if (!config.textfile.empty()) {
    write_textfile();
    text_ = config.textfile.string() + ", every " + std::to_string(kTextfileEvery.count()) + " s";
  }
  if (config.listen.empty()) return;
  try {
    pages["/metrics"] = [&series] { return Page{"text/plain; version=0.0.4", series.text()}; };
    endpoint_ = std::unique_ptr<Endpoint>(new Endpoint{Server(config.listen, pages), std::nullopt});
  } catch (const Error& e) {
    warn(std::string("no metrics endpoint: ") + e.what() +
         ". The run goes on; --metrics=127.0.0.1:0 takes a free port");
    return;
  }
  const bool loopback = is_loopback(endpoint_->server.address());
  const std::string host = !config.advertise.empty() ? config.advertise
                           : loopback                ? endpoint_->server.address()
                                                     : config.node;
  const std::string port = ":" + std::to_string(endpoint_->server.port());
  if (!config.targets.empty())
    endpoint_->target.emplace(TargetConfig{config.targets, config.run, config.node, host + port, config.job});
  try {
    if (!config.address_file.empty()) write_durably(config.address_file, endpoint_->server.address() + port + "\n");
  } catch (const Error& e) {
    warn(std::string(e.what()) + ". The run goes on");
  }
  text_ += (text_.empty() ? "" : "; ") + ("http://" + host + port + "/metrics") +
           (loopback ? ", from this node alone (--metrics=ADDRESS:PORT for others)" : "");
}

Exporter::~Exporter() {
  std::error_code error;
  if (endpoint_ && !config_.address_file.empty()) std::filesystem::remove(config_.address_file, error);
  if (!config_.textfile.empty()) write_textfile();
}

void Exporter::look() {
  if (!config_.textfile.empty() && std::chrono::steady_clock::now() - written_ > kTextfileEvery) write_textfile();
}

void Exporter::write_textfile() {
  written_ = std::chrono::steady_clock::now();
  try {
    write_durably(config_.textfile, series_.text());
  } catch (const Error& e) {
    if (!warned_) warn(std::string("metrics: ") + e.what() + ". The run goes on");
    warned_ = true;
  }
}

}  // namespace cfm::metrics
