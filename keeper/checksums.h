#pragma once
// XXH128SUMS: what `xxhsum -H2 FILE...` prints and `xxhsum -c XXH128SUMS` checks, a line a file.

#include <filesystem>
#include <map>
#include <string>

namespace cfm::keeper {

inline constexpr const char* kChecksumsFile = "XXH128SUMS";

// Of every file under `folder`, those in its folders too, but kChecksumsFile itself.
std::string checksums_text(const std::filesystem::path& folder);

// Hash by file name, relative to the folder of `file`. Error(kWontWork) naming the line that is no such line.
std::map<std::string, std::string> read_checksums(const std::filesystem::path& file);

}  // namespace cfm::keeper
