#pragma once
// Where tests make a program fail. Nothing happens unless the environment's CFM_FAIL_AT names the place.

#include <filesystem>

namespace cfm {

// Called before `operation` (open, read, create, write, fsync, fsync_directory, rename, remove) on `path`. With
// CFM_FAIL_AT=OPERATION:PART:N:ACTION the N-th one (from 1) in this process whose path contains PART meets ACTION: kill
// (SIGKILL), fail (an Error(kRetry)), full (NoRoom), or the path of a file, for which it waits.
void failpoint(const char* operation, const std::filesystem::path& path);

}  // namespace cfm
