#pragma once
// Folders of saves that are under way: step_000012000.<job>.<attempt>.tmp. Their names tell whose they are, so that a
// job that starts on the same run removes what dead ones left, and nothing that another one is writing.

#include <cstdint>
#include <filesystem>
#include <string>

namespace cfm::checkpoint {

inline constexpr const char* kUnfinished = ".tmp";
// Of an old checkpoint that is being deleted.
inline constexpr const char* kDeleted = ".deleted.tmp";

struct Writer {
  std::string job;      // Slurm's number, which a requeued job keeps; without one HOST-PID of the writing process
  std::string attempt;  // how often Slurm has restarted the job; 0 without it
};

// Of this process; `host` is its name.
Writer this_writer(const std::string& host);

// "step_000012000.4711.0.tmp" in the place of `committed`, the checkpoint that it will be.
std::filesystem::path unfinished_folder(const std::filesystem::path& committed, const Writer& writer);

// Whether nobody writes to `folder` any more: it is of `me`'s job, though not of a later attempt, or of a process of
// this host that has ended, or nothing in it has changed for an hour, or it is a deletion.
bool is_abandoned(const std::filesystem::path& folder, const Writer& me, const std::string& host);

}  // namespace cfm::checkpoint
