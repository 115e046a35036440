#pragma once
// What cfm_eval_fid has to do: settled and checked before anything is drawn.

#include <cstdint>
#include <optional>
#include <string>

#include "checkpoint/weights.h"
#include "evaluator/feature_network.h"
#include "evaluator/fid.h"
#include "evaluator/image_source.h"
#include "evaluator/reference.h"
#include "evaluator/result_file.h"

namespace cfm::evaluator {

// What is measured, with what, against what.
struct FidInputs {
  std::optional<checkpoint::Weights> weights;  // absent: the samples are there
  data::ImageShape shape;                      // of the samples
  std::optional<ImageSource> samples;          // if they are there
  FeatureNetwork features;
  Reference reference;
};

struct FidPlan {
  flow::SampleConfig sampling;  // with sigma0 and t_end
  int64_t count = 0;            // samples a repeat
  int64_t repeats = 1;
  int64_t block = 0;   // images that are summed up together
  int64_t stride = 0;  // from the first sample of a repeat to that of the next
  Json settings;       // all that decides the numbers
  ResultFile file;
  int64_t first_of(int64_t repeat) const { return repeat * stride; }
};

// `threads`: of a rank, which may decide last bits. `sampling`: with sigma0 and t_end. Error if the samples are too
// few, or do not fit the reference.
FidPlan plan_fid(const FidJob& job, int threads, const FidInputs& inputs, const flow::SampleConfig& sampling);

// Empty, or why a covariance of so many images says little: fewer than kSamplesPerDimension a dimension.
std::string rank_deficiency(const std::string& of, int64_t images, int64_t dimensions);

}  // namespace cfm::evaluator
