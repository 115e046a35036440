#pragma once
// What training changes: weights, their averages, the optimizer's moments, and where the run stands. A checkpoint is
// this.

#include <memory>
#include <optional>
#include <vector>

#include "checkpoint/manifest.h"
#include "checkpoint/store.h"
#include "data/dataset_fingerprint.h"
#include "models/ema.h"
#include "models/unet.h"
#include "trainer/optimizer.h"
#include "trainer/train.h"

namespace cfm::trainer {

struct RunState {
  std::shared_ptr<models::UNet> net;  // on the device, in its final memory format
  checkpoint::NamedTensors parameters;
  models::Ema ema;
  Optimizer optimizer;
  checkpoint::Progress at;
  std::optional<checkpoint::Branch> branched_from;
  // Updates that the averages have seen: those before a branch count.
  int64_t averaged_updates() const { return at.optimizer_steps + (branched_from ? branched_from->updates : 0); }
};

// Fresh weights from config.seed.
RunState fresh_state(const TrainConfig& config, c10::Device device);

// The files of a checkpoint: model, ema_<decay>..., exp_avg, exp_avg_sq. Tensors are shared with the state, not copied.
std::vector<checkpoint::Part> parts_of(const RunState& state, const TrainConfig& config,
                                       const data::Fingerprint& fingerprint);

// What stands beside the files.
checkpoint::Manifest manifest_of(const RunState& state, const TrainConfig& config, const data::Fingerprint& fingerprint,
                                 const checkpoint::Metadata& last_bits);

}  // namespace cfm::trainer
