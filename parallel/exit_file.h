#pragma once
#include "base/error.h"

namespace cfm::parallel {

// Writes the job's exit code into the file that CFM_EXIT_FILE names, if it is there: the job's script, which made it,
// need not rely on what the launcher makes of several ranks' codes. No error: the launcher's code is what remains.
void write_exit_file(ExitCode code);

}  // namespace cfm::parallel
