#pragma once
// Is every byte what was written? Each file is said; nothing is changed.

#include <filesystem>
#include <optional>
#include <vector>

#include "base/error.h"

namespace cfm::keeper {

// All committed checkpoints of a run, or one of them. Hashes every file that a manifest records. kWontWork if one is
// damaged (its block, the hash found and the one recorded are said), kRetry if one cannot be read for now.
ExitCode verify_run(const std::filesystem::path& run_dir, std::optional<int64_t> step);

// Each path: a run's folder, a checkpoint's, an export's (by its checksums), or a weights file: by the manifest or the
// checksums beside it, or, where there are neither, whether it can be read and fits its own description.
ExitCode verify_paths(const std::vector<std::filesystem::path>& paths);

}  // namespace cfm::keeper
