#pragma once
// A process's series to the outside: an HTTP endpoint that Prometheus finds, or a text file where scraping is barred.

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "base/error.h"
#include "metrics/series.h"
#include "metrics/server.h"

namespace cfm::metrics {

struct ExporterConfig {
  std::string listen = "127.0.0.1:0";  // address:port; empty: no endpoint
  std::string advertise{};             // host of the target; empty: the address if it is loopback, else the node
  std::filesystem::path targets{};     // folder of Prometheus' file_sd targets; empty: none
  // Whether a target may be an address of loopback: a Prometheus on another node would find something else there.
  bool loopback_targets = true;
  // For node_exporter's textfile collector: FILE.prom, or a folder in which each run and node has a file of its own;
  // empty: none.
  std::filesystem::path textfile{};
  std::filesystem::path address_file{};  // gets "127.0.0.1:43211"
  std::string run{}, node{}, job{};
  std::filesystem::path run_dir{};
  Problems validate() const;
};

class Exporter {
 public:
  // Tells `series`, and cfm_node_time_seconds as often as somebody asks or the file is written, also when the caller
  // hangs. What cannot be had (a port that is taken, a folder that cannot be written) is warned of and done without:
  // metrics never end a run. `series` must outlive it, and so must what `pages` are made of: they stand beside
  // /metrics.
  Exporter(const ExporterConfig& config, const Series& series, std::map<std::string, std::function<Page()>> pages = {});
  ~Exporter();  // takes target, address file, endpoint and text file away
  Exporter(const Exporter&) = delete;
  Exporter& operator=(const Exporter&) = delete;
  // One line for people: where the series are, and why Prometheus is not told if it is not.
  std::string text() const { return text_; }

 private:
  struct Outside;
  std::string series_text();
  void listen(std::map<std::string, std::function<Page()>> pages);
  std::string advertise();  // what it says for people
  const ExporterConfig config_;
  const Series& series_;
  std::mutex time_mutex_;
  Series time_;
  std::string text_;
  std::unique_ptr<Outside> outside_;  // last: its threads use the above
};

}  // namespace cfm::metrics
