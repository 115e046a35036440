#pragma once
// What a job will take, before it starts.

#include <c10/core/Device.h>

#include <cstdint>
#include <string>

#include "data/read_plan.h"
#include "evaluator/feature_network.h"
#include "evaluator/kernel_distance.h"
#include "flow/velocity.h"
#include "parallel/mpi_session.h"

namespace cfm::evaluator {

// Seconds of one call of each network, the slowest rank's. Collective.
double seconds_a_call(const flow::SampleVelocity& velocity, int64_t net_batch, const data::ImageShape& shape,
                      c10::Device device, const parallel::MpiSession& session);
double seconds_a_feature_batch(const FeatureNetwork& network, const data::ImageShape& shape,
                               const parallel::MpiSession& session);

// Seconds that KID, precision and recall of one set of samples take on rank 0, which makes them alone: by a probe of
// both. Collective.
double seconds_of_distances(int64_t samples, int64_t reference, int64_t dimensions, const KernelConfig& kid,
                            const parallel::MpiSession& session);

// Network evaluations an image that an adaptive solver is taken to need.
inline constexpr int64_t kGuessedEvaluations = 100;

// Calls of the networks, of the rank that makes the most.
struct FidWork {
  double sampling_calls = 0;
  double error_calls = 0;  // of a sweep's errors
  double feature_calls = 0;
  bool is_a_guess = false;     // adaptive: kGuessedEvaluations an image
  int64_t feature_images = 0;  // on all ranks
  double call_seconds = 0, feature_call_seconds = 0;
  double distance_seconds = 0;  // of KID, precision and recall; 0: they are not measured
};

// Batches in the largest share of `count` images that are dealt in whole blocks.
double most_batches(int64_t count, int64_t block, int64_t batch, int ranks);

// "cost         about 01:02:00: sampling ..., features of 150000 images ..., KID, precision and recall ..."
std::string cost_text(const FidWork& work);

}  // namespace cfm::evaluator
