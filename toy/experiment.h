#pragma once
// One method on the checkerboard: train, look at samples, measure the likelihood, write it all down.

#include <cstdint>
#include <filesystem>

#include "base/error.h"
#include "toy/training.h"

namespace cfm::toy {

struct ExperimentConfig {
  TrainingConfig training = {};
  // Of every look at the flow: over training, over t, at few evaluations; 0: none is taken.
  int64_t count = 10000;
  int64_t nll_count = 2000;  // held-out points
  double tolerance = 1e-5;   // atol and rtol of dopri5
  int64_t net_batch = 512;   // rows of a network call for likelihoods
  int threads = 1;
  std::filesystem::path out = {};  // folder, made if need be: result.json and points.npz
  Problems validate() const;
};

// points.npz, float32 unless said otherwise, N = count:
//   t float64 [T], x [N,T,2]              samples on their way from noise to data
//   nfe int64 [K], few [N,K,2]            the same samples at the end, by the midpoint rule with so many evaluations
//   step int64 [S], training [N,S,2]      the same at the end, after so many steps of training
//   trajectory_t float64 [M], trajectory [n,M,2]   the first of the samples, at more times
//   points [P,2], log_p float64 [P], points_nfe int64 [P]   held-out points, and what the flow gives them, in nats
// The first four are left out with count = 0.
void run_experiment(const ExperimentConfig& config);

}  // namespace cfm::toy
