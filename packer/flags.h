#pragma once
#include "base/command_line.h"
#include "packer/pack.h"

namespace cfm::packer {

ProgramHelp program_help();

// What the flags say, after parse_command_line.
PackConfig config_from_flags();

}  // namespace cfm::packer
