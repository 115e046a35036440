#pragma once
// Going on from a run's newest checkpoint: what its command may have changed since, and what it may not.

#include <optional>
#include <string>
#include <vector>

#include "checkpoint/manifest.h"
#include "checkpoint/store.h"
#include "data/dataset_fingerprint.h"
#include "trainer/flag_classes.h"
#include "trainer/run_state.h"
#include "trainer/train.h"

namespace cfm::trainer {

// A flag whose value is not the checkpoint's. Fields of the network that follow from the data (image_size) have no
// flag: `flag` is then their name.
struct FlagChange {
  std::string flag, then, now;
  FlagClass flag_class = FlagClass::kFixed;
};

// Every flag that differs, whatever its class, in the order of flag_rules(); not --check and --branch_from, and not an
// --init_from that is no longer given. A folder of --train_data that differs is free: whether its data differ is the
// fingerprint's matter (resume_problems). The numbers of --ema_decays are compared, not how they are written.
std::vector<FlagChange> flag_changes(const checkpoint::Manifest& manifest, const TrainConfig& config);

// What a resume does with a flag that it may change: "--lr was 0.001, is 0.002: the run goes on with 0.002".
std::string text_of(const FlagChange& change, const TrainConfig& config);

// A sentence for each thing that a resume may not change and that has changed: both values, and what to do.
Problems resume_problems(const checkpoint::Manifest& manifest, const TrainConfig& config,
                         const data::Fingerprint& fingerprint);
// Throws SharedError listing them, if there are any.
void check_resumable(const checkpoint::Manifest& manifest, const TrainConfig& config,
                     const data::Fingerprint& fingerprint);

// A line for each thing that a resume may change and that has changed: flags that decide numbers, the program, what
// decides the last bits.
std::vector<std::string> changes_since(const checkpoint::Manifest& manifest, const TrainConfig& config,
                                       const data::Fingerprint& fingerprint, const checkpoint::Metadata& last_bits);

// What events.jsonl is told as config_change: what changes what is learnt from here on. Flags that continue, --steps
// where --lr decays until then, and data that --allow_other_data let in (their fingerprints are the values). Nothing if
// no step is left to be made.
std::vector<FlagChange> changes_to_record(const checkpoint::Manifest& manifest, const TrainConfig& config,
                                          const data::Fingerprint& fingerprint);

// Loads the newest checkpoint into `state`, says what has changed since, and returns what is to be recorded; nothing if
// there is no checkpoint. The images' part of `fingerprint`, where it is not known, is taken from a checkpoint of the
// same files. Collective.
std::optional<std::vector<FlagChange>> resume(RunState& state, const TrainConfig& config,
                                              data::Fingerprint& fingerprint, const checkpoint::Metadata& last_bits,
                                              checkpoint::Store& store, const parallel::MpiSession& session);

}  // namespace cfm::trainer
