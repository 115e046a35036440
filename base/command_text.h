#pragma once
#include <string>

#include "base/command_line.h"

namespace cfm {

// The command line that asks for what the flags now are: the program's name and every flag that was given, on the
// command line or in a flagfile. Values are quoted for a shell where they need it.
std::string command_text(const ProgramHelp& program);

}  // namespace cfm
