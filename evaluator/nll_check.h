#pragma once
#include "evaluator/nll_plan.h"

namespace cfm::evaluator {

// How far a grid's bits/dim are from those of twice the steps, on the first images (same dequantisation and probes).
struct ConvergenceCheck {
  int64_t images = 0;
  double mean = 0, rms = 0, largest = 0;  // of bits/dim with the grid less those with twice the steps
};

// Draw 0 of each of `finer`'s images in both.
ConvergenceCheck compare(const NllPlan& finer, const DrawRecords& coarse, const DrawRecords& fine);

}  // namespace cfm::evaluator
