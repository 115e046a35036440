#pragma once
#include "base/command_line.h"
#include "evaluator/nll.h"

namespace cfm::evaluator {

ProgramHelp nll_help();
NllJob nll_job_from_flags();

}  // namespace cfm::evaluator
