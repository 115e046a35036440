#pragma once
// What a run's checkpoints are, looked at without changing anything. Damage is that a file is missing or that its bytes
// are not those that were written: an Error(kWontWork). What cannot be read for now (an I/O error, a stale handle, no
// permission) is not damage: an Error(kRetry).

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/manifest.h"

namespace cfm::checkpoint {

inline constexpr std::string_view kStepPrefix = "step_";
inline constexpr std::string_view kDamaged = ".damaged";  // behind the name of one that was set aside

std::string step_name(int64_t step);  // "step_000012000"

// The number of step_000012000; -1 for any other name.
int64_t step_of(const std::string& name);

// RUN/checkpoints
std::filesystem::path checkpoints_folder(const std::filesystem::path& run_dir);

// Whether there is a committed checkpoint of this step: a manifest.json in its folder. Error(kRetry) if that cannot be
// told for now.
bool is_committed(const std::filesystem::path& run_dir, int64_t step);
// Steps of committed checkpoints, ascending.
std::vector<int64_t> committed_steps(const std::filesystem::path& run_dir);

// Reads and verifies the manifest of one committed checkpoint. Error(kWontWork) if it is damaged or not there.
Manifest read_manifest(const std::filesystem::path& checkpoint_dir);
// Hashes every file of the manifest; Error(kWontWork) on the first that differs or is not there.
void verify_checkpoint(const std::filesystem::path& checkpoint_dir, const Manifest& manifest);

// Of one file, on a rank that reads what rank 0 has found whole: where it reads something else, that is its machine's
// trouble and no damage, so Error(kRetry).
void verify_after_rank_0(const std::filesystem::path& file, const FileRecord& record);

// Hears of a checkpoint that is damaged, and how.
using HearsOfDamage = std::function<void(int64_t step, const std::string& why)>;
inline constexpr int64_t kAnyStep = INT64_MAX;
// The text of the newest manifest that is intact, of the steps below `below`; empty if there is none. `damaged` hears
// of each newer folder whose manifest is damaged or missing, the newest first. Error(kWontWork) for a folder that was
// renamed.
std::string newest_intact_manifest(const std::filesystem::path& run_dir, const HearsOfDamage& damaged,
                                   int64_t below = kAnyStep);
// Error(kWontWork) if a run has checkpoints that were set aside as damaged: to be asked where it has no others.
void refuse_damaged_ones_only(const std::filesystem::path& run_dir);

// Names of all that is in RUN/checkpoints, sorted; nothing if there is no such folder.
std::vector<std::string> checkpoint_names(const std::filesystem::path& run_dir);

// work(), which only reads the run's checkpoints. An Error(kRetry) of it says that this is no damage, and what to do.
void reading(const std::filesystem::path& run_dir, const std::function<void()>& work);

}  // namespace cfm::checkpoint
