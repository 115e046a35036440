#pragma once
#include "base/command_line.h"
#include "evaluator/sample.h"

namespace cfm::evaluator {

ProgramHelp sample_help();
SampleJob sample_job_from_flags();

}  // namespace cfm::evaluator
