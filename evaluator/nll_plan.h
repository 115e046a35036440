#pragma once
// What cfm_eval_nll has to do: settled and checked before anything is computed.

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "checkpoint/weights.h"
#include "data/dataset.h"
#include "evaluator/nll.h"
#include "evaluator/nll_records.h"
#include "evaluator/result_file.h"

namespace cfm::evaluator {

struct NllPlan {
  flow::LikelihoodConfig likelihood;
  int64_t count = 0;            // images 0 .. count - 1 of the data set
  int64_t dimensions = 0;       // of an image
  std::vector<int64_t> labels;  // of each; -1 for a network without classes
  Json settings;                // all that decides the number
  std::string key;              // a hash of them: of every line that is kept
  ResultFile file;
  std::filesystem::path parts;      // folder of what is kept
  std::string name = "likelihood";  // of this work, to people
  int64_t draws() const { return count * likelihood.repeats; }
};

// `threads`: of a rank, which may decide last bits. Error if data and network do not fit: shape, classes, a null class
// that is not there.
NllPlan plan_nll(const NllJob& job, int threads, const checkpoint::Weights& weights, const NetworkFlow& network,
                 const data::Dataset& images);

// The plan of the same draws, the first of each of the first `images` images, with twice the steps. REQUIRES: a fixed
// grid.
NllPlan with_twice_the_steps(const NllPlan& plan, int64_t images);

// One draw to be made.
struct Draw {
  int64_t image, k;
};

// This rank's part of the draws that are not kept yet. Work is dealt in units: a draw, or with step_control batch the
// net_batch consecutive draws that share their steps (all of them, if any is missing).
std::vector<Draw> share_of_rank(const NllPlan& plan, const DrawRecords& kept, int rank, int size);
int64_t unit_of(const NllPlan& plan);

}  // namespace cfm::evaluator
