#include "metrics/exporter.h"

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <optional>

#include "base/durable_file.h"
#include "base/log.h"
#include "metrics/targets.h"
#include "metrics/text_file.h"

namespace cfm::metrics {
namespace {

namespace fs = std::filesystem;

// Whether only this machine reaches it, by address or by a name such as localhost.
bool is_loopback(const std::string& host) {
  if (host == "[::1]") return true;
  addrinfo hints{};
  hints.ai_family = AF_INET;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (::getaddrinfo(host.c_str(), nullptr, &hints, &found) != 0) return false;
  const bool loopback =
      (::ntohl(reinterpret_cast<const sockaddr_in*>(found->ai_addr)->sin_addr.s_addr) >> 24) == IN_LOOPBACKNET;
  ::freeaddrinfo(found);
  return loopback;
}

// A host as a target has it: no port, no scheme, no spaces.
bool is_host(const std::string& name) {
  const bool in_brackets = name.starts_with('[') && name.ends_with(']');
  return std::ranges::all_of(name, [&](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' || c == '-' || c == '_' ||
           (in_brackets && (c == ':' || c == '[' || c == ']'));
  });
}

double now() { return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count(); }

fs::path text_file(const ExporterConfig& config) {
  if (config.textfile.extension() == ".prom") return config.textfile;
  return config.textfile / (target_name(config.run, config.node, config.run_dir) + ".prom");
}

}  // namespace

// What others see of us.
struct Exporter::Outside {
  std::optional<TextFile> file;
  std::optional<Server> server;
  std::optional<Target> target;
  std::string said;  // in the address file
};

Problems ExporterConfig::validate() const {
  Problems problems;
  try {
    if (!listen.empty()) address_and_port(listen);
  } catch (const Error& e) {
    problems.emplace_back(e.what());
  }
  if (!is_host(advertise))
    problems.push_back("--metrics_advertise=" + advertise +
                       ": expected a host's name or address alone, to which the endpoint's port is added");
  std::error_code error;
  if (!textfile.empty() && textfile.extension() != ".prom" && !fs::is_directory(textfile, error))
    problems.push_back("--metrics_textfile=" + textfile.string() +
                       ": expected a folder that is there, or a name that ends in .prom, which is what node_exporter "
                       "reads");
  return problems;
}

Exporter::Exporter(const ExporterConfig& config, const Series& series,
                   std::map<std::string, std::function<Page()>> pages)
    : config_(config), series_(series), time_(config.run), outside_(std::make_unique<Outside>()) {
  if (!config.textfile.empty()) {
    outside_->file.emplace(text_file(config), [this] { return series_text(); });
    text_ = outside_->file->file().string() + ", every 10 s";
  }
  if (config.listen.empty()) return;
  listen(std::move(pages));
  if (outside_->server) text_ += (text_.empty() ? "" : "; ") + advertise();
}

Exporter::~Exporter() {
  // Another job may have taken the run over and written its own.
  if (outside_->said.empty() || try_read_file(config_.address_file).bytes != outside_->said) return;
  std::error_code error;
  fs::remove(config_.address_file, error);
}

std::string Exporter::series_text() {
  const std::lock_guard lock(time_mutex_);
  time_.set("cfm_node_time_seconds", now(), {config_.node});
  return series_.text() + time_.text();
}

void Exporter::listen(std::map<std::string, std::function<Page()>> pages) {
  try {
    pages["/metrics"] = [this] { return Page{"text/plain; version=0.0.4", series_text()}; };
    outside_->server.emplace(config_.listen, pages);
  } catch (const Error& e) {
    warn(std::string("no metrics endpoint: ") + e.what() +
         ". The run goes on; --metrics=127.0.0.1:0 takes a free port");
    return;
  }
  if (config_.address_file.empty()) return;
  try {
    const std::string text = outside_->server->address() + ":" + std::to_string(outside_->server->port()) + "\n";
    write_durably(config_.address_file, text);
    outside_->said = text;
  } catch (const Error& e) {
    warn(std::string(e.what()) + ". The run goes on");
  }
}

std::string Exporter::advertise() {
  const std::string bound = outside_->server->address();
  const bool loopback = is_loopback(bound);
  const std::string host = !config_.advertise.empty() ? config_.advertise : loopback ? bound : config_.node;
  const std::string address = host + ":" + std::to_string(outside_->server->port());
  std::string said = "http://" + address + "/metrics";
  if (loopback) said += ", from this node alone (--metrics=ADDRESS:PORT for others)";
  if (config_.targets.empty()) return said;
  if (is_loopback(host) && !config_.loopback_targets)
    return said +
           "; Prometheus is not told, which may be on another node (--metrics_targets=FOLDER tells one that is on "
           "this)";
  const Target& target = outside_->target.emplace(TargetConfig{.folder = config_.targets,
                                                               .run = config_.run,
                                                               .node = config_.node,
                                                               .run_dir = config_.run_dir,
                                                               .address = address,
                                                               .job = config_.job});
  if (!target.namesake().empty())
    said += "; " + target.namesake().string() + " is at work under the same name, " + config_.run +
            " (--metrics_run=NAME tells its series from ours)";
  return said;
}

}  // namespace cfm::metrics
