#pragma once
// How far a solver's samples are from an all but exact solution from the same noises. [arXiv:2210.02747v2 fig. 7, left]

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <optional>
#include <string>

#include "data/read_plan.h"
#include "evaluator/kept_block.h"
#include "evaluator/shared_stop.h"
#include "flow/sampler.h"
#include "parallel/mpi_session.h"

namespace cfm::evaluator {

// The solution that the others are compared with.
inline constexpr const char* kExactSolver = "rk4";
inline constexpr int kExactSteps = 1000;
flow::OdeConfig exact_solver(const flow::OdeConfig& like);

// Samples that are compared: the first so many of `count`. The paper's figure has 256.
int64_t compared_samples(int64_t count);

struct StatesPass {
  int64_t count = 0;  // samples 0 .. count - 1
  data::ImageShape shape;
  c10::Device device;
  KeptBlocks kept;   // tensor `states`, float32 [n,C,H,W]: net_batch samples a block
  SharedStop& stop;  // is asked before each network call
};

// This rank's share of the samples (flow::samples_of_rank by net_batch) before they become bytes, float32 [n,C,H,W] on
// the CPU: drawn, or read where an earlier start has kept them. Nothing, on all ranks, if a stop was asked for.
// Collective.
std::optional<at::Tensor> states_of_share(const flow::SampleVelocity& velocity, const flow::SampleConfig& config,
                                          const StatesPass& pass, const parallel::MpiSession& session);

// Root of the mean, over all ranks' samples, of the mean squared difference of a sample's states. The same bits on all
// ranks and for any number of them. Collective.
double rms_difference(const at::Tensor& mine, const at::Tensor& others, int64_t count, int64_t net_batch,
                      const parallel::MpiSession& session);

}  // namespace cfm::evaluator
