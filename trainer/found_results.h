#pragma once
// What evaluators have written to RUN/results, for the run's metrics.

#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "metrics/series.h"

namespace cfm::trainer {

class FoundResults {
 public:
  static constexpr size_t kMost = 200;

  explicit FoundResults(std::filesystem::path folder) : folder_(std::move(folder)) {}
  // Sets cfm_result for what is there, of each evaluator the results of the newest kMost steps, and takes away what is
  // no longer among them. A file is read again when it has been written anew; one that cannot be read or is no result
  // is none. A folder that cannot be listed leaves all as it was; one whose own time of change says that no file has
  // come, gone or been renamed into place is not listed again.
  void look(metrics::Series& series);

 private:
  struct Told {
    Told(std::string of_step, std::string of_tag) : step(std::move(of_step)), tag(std::move(of_tag)) {}
    const std::string step, tag;
    std::filesystem::file_time_type written = std::filesystem::file_time_type::min();
    std::vector<std::string> metrics;
  };
  static bool read(const std::filesystem::path& file, std::filesystem::file_time_type written, Told& told,
                   metrics::Series& series);
  static void forget(const Told& told, metrics::Series& series);
  const std::filesystem::path folder_;
  std::filesystem::file_time_type listed_ = std::filesystem::file_time_type::min();  // the folder's, when all was told
  std::map<std::string, Told> told_;                                                 // by the file's name
};

}  // namespace cfm::trainer
