#pragma once
// The network whose features a distance is taken between: --features.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "data/read_plan.h"

namespace cfm::evaluator {

struct ImageFeatures {
  at::Tensor features;  // float32 [B,d]: FID, KID, precision and recall
  at::Tensor spatial;   // float32 [B,d']: sFID; undefined if the network has none
  at::Tensor logits;    // float32 [B,classes]: the Inception Score
};

struct FeatureNetwork {
  std::string name;                // "inception", "torchscript", "digits"
  std::filesystem::path file;      // its weights
  std::string hash;                // XXH3-128 of the file
  int64_t dimensions = 0;          // d
  int64_t spatial_dimensions = 0;  // d'; 0: it has no spatial features
  std::string input;               // what it makes of bytes, in words
  // Error unless it takes images of this shape.
  std::function<void(const data::ImageShape&)> check_takes;
  // images: uint8 [B,C,H,W] on the CPU; the features are on the CPU too.
  std::function<ImageFeatures(const at::Tensor& images)> features_of;
};

// "inception:FILE.safetensors" (scripts/convert_inception.py makes it), "torchscript:FILE.pt"
// (evaluator/torchscript_features.h) or "digits:FILE.safetensors" (configs/digits/features.safetensors). Error names
// the flag or the file, what was found and what to do: another kind, a file that is truncated, of another network, or
// holds numbers that are not finite.
FeatureNetwork load_feature_network(const std::string& features, c10::Device device);

}  // namespace cfm::evaluator
