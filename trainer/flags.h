#pragma once
#include <optional>
#include <string>
#include <vector>

#include "base/command_line.h"
#include "trainer/train.h"

namespace cfm::trainer {

ProgramHelp program_help();

// The configuration that the flags ask for as they stand, validated. Throws SharedError naming all that is wrong.
TrainConfig train_config_from_flags();

// The configuration that the command line and its flagfiles ask for, validated. Nothing if it asked for help.
// Throws SharedError naming flag, file and line.
std::optional<TrainConfig> read_flags(const std::vector<std::string>& arguments);

}  // namespace cfm::trainer
