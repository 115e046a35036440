#pragma once
// A process's series to the outside: an HTTP endpoint that Prometheus finds, or a text file where scraping is barred.

#include <chrono>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "base/error.h"
#include "metrics/series.h"
#include "metrics/server.h"

namespace cfm::metrics {

struct ExporterConfig {
  std::string listen = "127.0.0.1:0";    // address:port; empty: no endpoint
  std::string advertise{};               // host of the target; empty: the address if it is loopback, else the node
  std::filesystem::path targets{};       // folder of Prometheus' file_sd targets; empty: none
  std::filesystem::path textfile{};      // FILE.prom, for node_exporter's textfile collector; empty: none
  std::filesystem::path address_file{};  // gets "127.0.0.1:43211"
  std::string run{}, node{}, job{};
  Problems validate() const;
};

class Exporter {
 public:
  // What cannot be had (a port that is taken, a folder that cannot be written) is warned of and done without: metrics
  // never end a run. `series` must outlive it, and so must what `pages` are made of: they stand beside /metrics.
  Exporter(const ExporterConfig& config, const Series& series, std::map<std::string, std::function<Page()>> pages = {});
  ~Exporter();  // takes target, address file and endpoint away; the text file stays
  Exporter(const Exporter&) = delete;
  Exporter& operator=(const Exporter&) = delete;
  // To be called now and then: writes the text file if the last one is ten seconds old.
  void look();
  // One line for people: where the series are.
  std::string text() const { return text_; }

 private:
  void write_textfile();
  struct Endpoint;
  const ExporterConfig config_;
  const Series& series_;
  std::unique_ptr<Endpoint> endpoint_;
  std::chrono::steady_clock::time_point written_{};
  bool warned_ = false;
  std::string text_;
};

}  // namespace cfm::metrics
