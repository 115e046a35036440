#pragma once
#include "base/command_line.h"
#include "toy/experiment.h"

namespace cfm::toy {

ProgramHelp checkerboard_help();
ExperimentConfig experiment_from_flags();

}  // namespace cfm::toy
