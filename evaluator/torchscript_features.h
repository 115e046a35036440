#pragma once
#include <c10/core/Device.h>

#include "evaluator/feature_network.h"

namespace cfm::evaluator {

// Fills in the network of a TorchScript file of the FID's Inception as NVIDIA publishes it (inception-2015-12-05.pt, of
// StyleGAN and EDM), from network.file: forward(images uint8 [B,3,H,W], return_features, ..., no_output_bias) gives
// float32 [B,2048] or probabilities of 1008 classes; the resize is the file's own. No spatial features. Error names the
// file: none that LibTorch reads, another network.
void use_torchscript(FeatureNetwork& network, c10::Device device);

}  // namespace cfm::evaluator
