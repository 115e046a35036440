#pragma once
#include <ctime>
#include <filesystem>
#include <string>

#include "keeper/run_contents.h"

namespace cfm::keeper {

// What there is of a run, as tables: its checkpoints, newest last; folders that are none; results, and who makes some.
// `now`: for how long ago.
std::string list_text(const std::filesystem::path& run_dir, const RunContents& contents, std::time_t now);

}  // namespace cfm::keeper
