#pragma once
// A process's series: set by the program's thread, read by whoever scrapes.

#include <filesystem>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace prometheus {
class Collectable;
}

namespace cfm::metrics {

// In the order in which the catalogue names them.
using LabelValues = std::initializer_list<std::string_view>;

class Series {
 public:
  // `run`: the value of the label of that name, which every series carries. `program`: the same, unless it is empty.
  explicit Series(const std::string& run, const std::string& program = "");
  ~Series();
  Series(const Series&) = delete;
  Series& operator=(const Series&) = delete;
  // A gauge's value. std::logic_error if metrics/catalogue.h has no such gauge with as many labels.
  void set(std::string_view gauge, double value, LabelValues labels = {});
  // Adds to a counter, which begins at 0. Likewise.
  void add(std::string_view counter, double amount, LabelValues labels = {});
  // Takes the gauge with these labels away until it is set again. Nothing if it is not set.
  void remove(std::string_view gauge, LabelValues labels);
  // All of it in Prometheus' text format. From any thread.
  std::string text() const;
  // All of it as prometheus-cpp hands it on. It may outlive this.
  std::shared_ptr<prometheus::Collectable> collectable() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The label `run` of the run in `folder`: its last name, unless --metrics_run gave one.
std::string run_name(const std::string& given, const std::filesystem::path& folder);

}  // namespace cfm::metrics
