#pragma once
// A weights file alone suffices to sample and evaluate: its metadata holds the network and the meaning of its output.

#include <filesystem>
#include <memory>
#include <string>

#include "checkpoint/safetensors.h"
#include "models/unet.h"

namespace cfm::checkpoint {

// Everything a weights file says beside its tensors. docs/formats.md has the keys.
struct WeightsInfo {
  models::UNetConfig model;
  std::string path = "ot", objective = "fm";
  Metadata path_parameters{{"sigma_min", "1e-05"}};  // the numbers that the path is made of
  double t_end = 1;
  double sigma0 = 1;     // width of the noise at t = 0
  double ema_decay = 0;  // 0: the raw weights
  int64_t step = 0;
  std::string dataset_fingerprint = {};         // of the files
  std::string dataset_images_fingerprint = {};  // of the images, whatever their order; empty: not known
  std::string branched_from = {};               // "RUN@STEP" that the run began from; empty: from nothing
};

Metadata to_metadata(const WeightsInfo& info);
// Error names `where`, the key, what was found and what was expected.
WeightsInfo weights_info(const Metadata& metadata, const std::string& where);

// "raw", or "ema_0.9999": as --weights names them.
std::string weights_name(const WeightsInfo& info);

struct Weights {
  WeightsInfo info;
  std::shared_ptr<models::UNet> net;
  std::filesystem::path file;
  std::string hash;  // XXH3-128 of the file
};

// --weights_file=F. The network is on the CPU, in evaluation mode, its parameters without gradients.
Weights load_weights_file(const std::filesystem::path& file);

inline constexpr int64_t kNewestStep = -1;

// The step, or that of the newest committed checkpoint. Error lists what there is.
int64_t choose_step(const std::filesystem::path& run_dir, int64_t step);

// --run_dir=R [--step=N] --weights=raw|ema_<decay>|"" (the longest EMA): of the newest committed checkpoint unless a
// step is named. Error lists what there is. The chosen file's hashes are verified.
Weights load_run_weights(const std::filesystem::path& run_dir, int64_t step, const std::string& weights);

}  // namespace cfm::checkpoint
