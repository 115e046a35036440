#pragma once
// What a job will take, before it starts.

#include <c10/core/Device.h>

#include <cstdint>
#include <string>

#include "data/read_plan.h"
#include "evaluator/feature_network.h"
#include "flow/velocity.h"
#include "parallel/mpi_session.h"

namespace cfm::evaluator {

// Seconds of one call of each network, the slowest rank's. Collective.
double seconds_a_call(const flow::SampleVelocity& velocity, int64_t net_batch, const data::ImageShape& shape,
                      c10::Device device, const parallel::MpiSession& session);
double seconds_a_feature_batch(const FeatureNetwork& network, const data::ImageShape& shape,
                               const parallel::MpiSession& session);

// Network evaluations an image that an adaptive solver is taken to need.
inline constexpr int64_t kGuessedEvaluations = 100;

struct FidWork {
  double network_images = 0;  // images times network evaluations
  bool is_a_guess = false;    // adaptive: kGuessedEvaluations an image
  int64_t feature_images = 0;
  int64_t net_batch = 64;
  double call_seconds = 0, feature_batch_seconds = 0;
};

// "cost         about 1 h 02 min: sampling ..., features of 150000 images ..."
std::string cost_text(const FidWork& work, int ranks);

}  // namespace cfm::evaluator
