#pragma once
// Where a run begins: at its newest checkpoint, or at the weights of another run, or at fresh ones.

#include <string>
#include <vector>

#include "checkpoint/manifest.h"
#include "checkpoint/store.h"
#include "checkpoint/weights.h"
#include "data/dataset_fingerprint.h"
#include "trainer/run_state.h"
#include "trainer/train.h"

namespace cfm::trainer {

// Throws SharedError naming flag, the checkpoint's value and this run's, for each thing that a resume may not change.
void check_resumable(const checkpoint::Manifest& manifest, const TrainConfig& config,
                     const data::Fingerprint& fingerprint);

// A line for each thing that a resume may change and that has changed: flags that decide numbers, the program, what
// decides the last bits.
std::vector<std::string> changes_since(const checkpoint::Manifest& manifest, const TrainConfig& config,
                                       const data::Fingerprint& fingerprint, const checkpoint::Metadata& last_bits);

// Loads the newest checkpoint into `state` and says what has changed since; false if there is none. The images' part of
// `fingerprint`, where it is not known, is taken from a checkpoint of the same files. Collective.
bool resume(RunState& state, const TrainConfig& config, data::Fingerprint& fingerprint,
            const checkpoint::Metadata& last_bits, checkpoint::Store& store, const parallel::MpiSession& session);

// Throws SharedError if weights that `info` describes would mean something else in this run: for each field of the
// network, objective and path that differs, both values.
void check_same_meaning(const checkpoint::WeightsInfo& info, const TrainConfig& config);

// Loads config.init_from into the weights and their averages of a run without a checkpoint; does nothing if it is
// empty. Collective.
void start_from_weights(RunState& state, const TrainConfig& config, const parallel::MpiSession& session);

}  // namespace cfm::trainer
