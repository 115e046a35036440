#pragma once
// What evaluators have written to RUN/results, for the run's metrics.

#include <filesystem>
#include <map>
#include <set>
#include <string>

#include "metrics/series.h"

namespace cfm::trainer {

class FoundResults {
 public:
  explicit FoundResults(std::filesystem::path folder) : folder_(std::move(folder)) {}
  // Sets cfm_result for each result that was not there at the last look, up to kMost of a metric; a file that cannot be
  // read is none.
  void look(metrics::Series& series);

 private:
  static constexpr int kMost = 200;
  const std::filesystem::path folder_;
  std::set<std::string> seen_;
  std::map<std::string, int> of_metric_;
  double newest_ = 0;
};

}  // namespace cfm::trainer
