#pragma once
// What cfm_eval_fid says and writes down.

#include <string>
#include <vector>

#include "evaluator/fid_plan.h"
#include "evaluator/machine.h"

namespace cfm::evaluator {

// The lines before the work.
std::string settings_text(const FidPlan& plan, const FidJob& job, const FidInputs& inputs, const Machine& machine);
// One repeat, as to_json makes it of its measures, in a line.
std::string repeat_text(const Json& repeat, int64_t number, int64_t repeats);
// The lines after the work.
std::string outcome_text(const FidPlan& plan, const Json& numbers, double seconds);

// A sentence for the samples and one for the reference where they are fewer than ten a dimension of the features.
std::vector<std::string> deficiencies(const FidPlan& plan, const FidInputs& inputs);

// Least, mean and most of each measure over the repeats; each repeat; what is rank-deficient, what was not measured.
Json numbers_json(const Json& repeats, const FidPlan& plan, const FidInputs& inputs);
// The result file. `numbers`: of numbers_json, or of a sweep.
Json result_json(const Json& numbers, const FidPlan& plan, const FidJob& job, const FidInputs& inputs,
                 const Machine& machine, double seconds);

}  // namespace cfm::evaluator
