#pragma once
// A process's series: set by the program's thread, read by whoever scrapes.

#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace cfm::metrics {

// In the order in which the catalogue names them.
using LabelValues = std::initializer_list<std::string_view>;

class Series {
 public:
  // `run`: the value of the label of that name, which every series carries.
  explicit Series(const std::string& run);
  ~Series();
  Series(const Series&) = delete;
  Series& operator=(const Series&) = delete;
  // A gauge's value. std::logic_error if metrics/catalogue.h has no such gauge with as many labels.
  void set(std::string_view gauge, double value, LabelValues labels = {});
  // Adds to a counter, which begins at 0. Likewise.
  void add(std::string_view counter, double amount, LabelValues labels = {});
  // All of it in Prometheus' text format. From any thread.
  std::string text() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace cfm::metrics
