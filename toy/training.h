#pragma once
// Trains a small velocity network on points of the checkerboard, by any objective of flow/objective.h.

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "base/error.h"
#include "flow/objective.h"
#include "flow/time_sampling.h"
#include "flow/velocity.h"
#include "models/mlp.h"

namespace cfm::toy {

struct TrainingConfig {
  models::MlpConfig model = {};
  flow::FlowConfig flow_config = {};
  flow::TimeSampling times = {};
  uint64_t seed = 0;
  int64_t steps = 5000;
  int64_t global_batch = 512;  // points a step, all of them new
  double lr = 1e-3;            // of Adam; falls linearly to zero
  Problems validate() const;
};

using Net = std::shared_ptr<const models::Mlp>;

struct Trained {
  Net net;                     // its parameters need no gradients any more
  std::vector<double> losses;  // of each step
};

// `look` is called before the first step and after every one, with the number of steps made.
Trained train(const TrainingConfig& config, const std::function<void(int64_t steps_made, const Net& net)>& look);

// The flow's velocity.
flow::SampleVelocity velocity_of(const TrainingConfig& config, const Net& net);

}  // namespace cfm::toy
