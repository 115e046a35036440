#pragma once
// The weights that a run without a checkpoint begins with, where they are not fresh: of a weights file, or of a
// checkpoint of another run.

#include <cstdint>
#include <filesystem>
#include <string>

#include "checkpoint/manifest.h"
#include "checkpoint/weights.h"
#include "trainer/run_state.h"
#include "trainer/train.h"

namespace cfm::trainer {

// Throws SharedError if weights that `info` describes would mean something else in this run: for each field of the
// network, objective and path that differs, both values. `given`: the flag that named them, "--init_from=F".
void check_same_meaning(const checkpoint::WeightsInfo& info, const TrainConfig& config, const std::string& given);

// Whether weights mean something else when this flag changes: of the network, the objective, the path.
bool decides_meaning(const std::string& flag, const TrainConfig& config);

// --branch_from=RUN@STEP, taken apart at its last @.
struct BranchPoint {
  std::filesystem::path run;
  int64_t step = 0;
};
// Error if it has no such form.
BranchPoint branch_point(const std::string& text);

// Why a run whose checkpoint this is cannot be gone on with under --branch_from: it did not begin there. Empty: it did,
// or the flag was not given.
std::string branch_problem(const checkpoint::Manifest& manifest, const TrainConfig& config);

// Of a run without a checkpoint: loads --init_from into the weights and their averages; or, by --branch_from, weights
// and averages of a checkpoint whose hashes hold, each average from that of the same decay, or from the weights. The
// optimizer's moments, step and images_seen begin anew, only the averages' warm-up does not. The checkpoint is held
// meanwhile (checkpoint/readers.h). Nothing if neither was given. Collective.
void start_from_weights(RunState& state, const TrainConfig& config, const parallel::MpiSession& session);

}  // namespace cfm::trainer
