#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/command_line.h"
#include "keeper/export.h"
#include "keeper/import.h"

namespace cfm::keeper {

ProgramHelp program_help();

// "--step=3 does nothing: ..." for each flag that was given though `command` uses neither it nor its group.
Problems flags_of_others(const std::string& command, const std::vector<std::string>& used);

struct RunChoice {
  std::filesystem::path run_dir;
  std::optional<int64_t> step;  // none: all, or the newest
};
RunChoice run_from_flags();

ImportJob import_from_flags();
ExportJob export_from_flags();

}  // namespace cfm::keeper
