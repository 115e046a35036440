#pragma once
#include <optional>
#include <string>
#include <vector>

#include "base/command_line.h"
#include "trainer/train.h"

namespace cfm::trainer {

ProgramHelp program_help();

// The configuration that the command line and its flagfiles ask for, validated. Nothing if it asked for help.
// Throws SharedError naming flag, file and line.
std::optional<TrainConfig> read_flags(const std::vector<std::string>& arguments);

// What cfm_train --help prints.
std::string help();

}  // namespace cfm::trainer
