#pragma once
// Weights files and checkpoints of a tiny U-Net, made without training and without MPI.

#include <filesystem>
#include <vector>

#include "base/durable_file.h"
#include "base/number_text.h"
#include "checkpoint/manifest.h"
#include "checkpoint/store.h"
#include "checkpoint/weights.h"
#include "models/unet.h"

namespace cfm::test {

// 1x8x8, two levels, attention; not zero-initialised, so that its velocity depends on everything.
inline models::UNetConfig tiny_unet(int64_t classes, bool null_class = false) {
  models::UNetConfig config;
  config.image_size = 8;
  config.in_channels = config.out_channels = 1;
  config.model_channels = 32;
  config.num_res_blocks = 1;
  config.channel_mult = {1, 2};
  config.attention_resolutions = {4};
  config.num_heads = 2;
  config.zero_init = false;
  config.dropout = 0.3;
  config.num_classes = classes;
  config.null_class = null_class;
  return config;
}

// `info`: what the file says beside the network.
inline checkpoint::FileRecord write_tiny_weights(const std::filesystem::path& file, const models::UNetConfig& config,
                                                 uint64_t seed, double ema_decay = 0, int64_t step = 0,
                                                 checkpoint::WeightsInfo info = {}) {
  const models::UNet net(config, seed);
  info.model = config;
  info.ema_decay = ema_decay;
  info.step = step;
  info.dataset_fingerprint = "0123456789abcdef0123456789abcdef";
  return checkpoint::write_safetensors(file, models::named_parameters(net), to_metadata(info));
}

// RUN/checkpoints/step_…, raw weights and one file a decay, each of other values. `steps`: how many the run makes.
inline void write_tiny_checkpoint(const std::filesystem::path& run_dir, int64_t step, int64_t classes,
                                  const std::vector<double>& decays, int64_t steps = 0) {
  const std::filesystem::path dir = checkpoint::checkpoints_folder(run_dir) / checkpoint::step_name(step);
  std::filesystem::create_directories(dir);
  checkpoint::Manifest manifest;
  manifest.progress.step = step;
  manifest.flags["steps"] = std::to_string(steps);
  uint64_t seed = static_cast<uint64_t>(step);
  manifest.files.push_back(write_tiny_weights(dir / "model.safetensors", tiny_unet(classes), seed, 0, step));
  for (const double decay : decays) {
    const std::string name = "ema_" + number_text(decay) + ".safetensors";
    manifest.files.push_back(write_tiny_weights(dir / name, tiny_unet(classes), ++seed, decay, step));
  }
  write_durably(dir / "manifest.json", to_json(manifest));
}

}  // namespace cfm::test
