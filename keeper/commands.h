#pragma once
// cfm_checkpoint's commands, by the word that names them.

#include <filesystem>
#include <string>
#include <vector>

#include "base/error.h"

namespace cfm::keeper {

// "list|verify|import|export"
const std::string& command_names();

// Reads the flags and does it. `arguments`: what stands behind the command's name. Throws Error; SharedError for flags,
// naming flagfile and line.
ExitCode run_command(const std::string& command, const std::vector<std::string>& arguments);

}  // namespace cfm::keeper
