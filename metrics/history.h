#pragma once
// What RUN/events.jsonl tells of the starts that a run has had (docs/formats.md).

#include <cstdint>
#include <filesystem>
#include <utility>
#include <vector>

namespace cfm::metrics {

struct History {
  std::vector<std::pair<int64_t, double>> losses;  // of logged steps that still hold, ascending; finite ones
  // What the last start had made, and how long it was at that, beyond where the next one begins: as far as it wrote of
  // it, which is up to the last step that it logged.
  int64_t lost_steps = 0;
  double lost_seconds = 0;
};

// For a start that begins at `step` and has not written a line yet. A file that is not there, or lines that are none,
// count for nothing.
History history_before(const std::filesystem::path& events, int64_t step);

}  // namespace cfm::metrics
