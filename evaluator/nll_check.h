#pragma once
#include "data/dataset.h"
#include "evaluator/nll_plan.h"
#include "parallel/mpi_session.h"

namespace cfm::evaluator {

// How far a grid's bits/dim are from those of twice the steps, on the first images (same dequantisation and probes).
struct ConvergenceCheck {
  int64_t images = 0;
  double mean = 0, rms = 0, largest = 0;  // of bits/dim with the grid less those with twice the steps
};

// Draw 0 of the first `images` images with twice the steps, compared with `records`. All ranks share the work. The
// result is rank 0's on all. REQUIRES: a fixed grid. Collective.
ConvergenceCheck check_convergence(const NllPlan& plan, const NetworkFlow& network, const data::Dataset& dataset,
                                   int64_t images, const DrawRecords& records, const parallel::MpiSession& session,
                                   c10::Device device);

// An image's bytes, uint8 [C,H,W].
at::Tensor bytes_of_image(const data::Dataset& dataset, int64_t image);

}  // namespace cfm::evaluator
