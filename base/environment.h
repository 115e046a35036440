#pragma once
#include <filesystem>
#include <string>

namespace cfm {

// The variable's value; `otherwise` if it is not set or empty.
std::string from_environment(const char* name, const std::string& otherwise = "");

// $XDG_CACHE_HOME/cfm/<name>, or ~/.cache/cfm/<name>: what may be computed again. Empty if there is no such place.
std::filesystem::path cache_folder(const std::string& name);

}  // namespace cfm
