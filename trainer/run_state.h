#pragma once
// What training changes: weights, their averages, the optimizer's moments, and where the run stands. A checkpoint is
// this.

#include <memory>
#include <optional>
#include <vector>

#include "checkpoint/manifest.h"
#include "checkpoint/store.h"
#include "data/dataset.h"
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
};

// Fresh weights from config.seed, or those of config.init_from.
RunState fresh_state(const TrainConfig& config, c10::Device device);

// The files of a checkpoint: model, ema_<decay>..., exp_avg, exp_avg_sq. Tensors are shared with the state, not copied.
std::vector<checkpoint::Part> parts_of(const RunState& state, const TrainConfig& config,
                                       const std::string& fingerprint);

// What stands beside the files.
checkpoint::Manifest manifest_of(const RunState& state, const TrainConfig& config, const std::string& fingerprint,
                                 const checkpoint::Metadata& last_bits);

// What decides the last bits of a result: ranks, threads, device, instruction set, LibTorch, precision, memory format.
checkpoint::Metadata last_bits(const TrainConfig& config, const parallel::MpiSession& session, c10::Device device,
                               int threads);

// Throws SharedError naming flag, the checkpoint's value and this run's, for each thing that a resume may not change.
void check_resumable(const checkpoint::Manifest& manifest, const TrainConfig& config, const std::string& fingerprint);

// Loads the newest checkpoint into `state`; its manifest, or nothing if there is none. Says what decides the last bits
// and differs.
std::optional<checkpoint::Manifest> resume(RunState& state, const TrainConfig& config, const std::string& fingerprint,
                                           const checkpoint::Metadata& last_bits, checkpoint::Store& store, bool speak);

// A network whose weights are the average's own tensors: evaluating it costs no copy.
std::shared_ptr<models::UNet> network_of_average(const RunState& state, size_t index, c10::Device device);
size_t longest_average(const models::Ema& ema);

}  // namespace cfm::trainer
