#pragma once
#include "checkpoint/weights.h"
#include "evaluator/image_source.h"
#include "evaluator/kept_block.h"
#include "evaluator/network_flow.h"
#include "flow/sampler.h"

namespace cfm::evaluator {

// A trained network as a source of images: sample i is what cfm_sample draws with the same flags, if blocks begin at
// multiples of config.net_batch. A block that was kept, and is whole, is read instead of drawn. `weights` must outlive
// the source; config with sigma0 and t_end of `network`.
ImageSource drawn_samples(const checkpoint::Weights& weights, const NetworkFlow& network,
                          const flow::SampleConfig& config, c10::Device device, const KeptBlocks& kept);

}  // namespace cfm::evaluator
