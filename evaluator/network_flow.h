#pragma once
// Which weights a program takes, and the flow that they are the network of.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "base/error.h"
#include "checkpoint/weights.h"
#include "flow/velocity.h"

namespace cfm::evaluator {

struct WeightsChoice {
  std::filesystem::path run_dir, weights_file;  // one of the two
  int64_t step = checkpoint::kNewestStep;
  std::string weights;  // raw, ema_<decay>; empty: the longest EMA
  Problems validate() const;
};

// Of --net_batch: a network call that takes minutes hears no signal, and one of any size takes any memory.
Problems net_batch_problems(int64_t net_batch);

// Error if the weights are not all finite, or not those of a velocity network for images.
checkpoint::Weights load_weights(const WeightsChoice& choice);

// What an ODE needs to know of a path and its network.
struct NetworkFlow {
  double sigma0 = 1;  // of the prior N(0, sigma0^2 I) at t = 0
  double t_end = 1;   // where data stand
  flow::SampleVelocity velocity;
};

// The label of a sample; none for a network without classes.
using LabelOf = std::function<int64_t(int64_t sample)>;

// The flow of a network in evaluation mode, without dropout. Error if the objective or the path is not known. Refers to
// `weights`.
NetworkFlow network_flow(const checkpoint::Weights& weights, const LabelOf& label_of);

}  // namespace cfm::evaluator
