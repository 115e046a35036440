#pragma once
#include "base/command_line.h"
#include "evaluator/fid.h"

namespace cfm::evaluator {

ProgramHelp fid_help();
FidJob fid_job_from_flags();

}  // namespace cfm::evaluator
