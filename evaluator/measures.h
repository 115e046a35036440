#pragma once
// Every measure of one set of samples against a reference.

#include <functional>
#include <optional>

#include "evaluator/feature_pass.h"
#include "evaluator/inception_score.h"
#include "evaluator/kernel_distance.h"
#include "evaluator/precision_recall.h"
#include "evaluator/reference.h"
#include "evaluator/result_file.h"

namespace cfm::evaluator {

inline constexpr int64_t kScoreSplits = 10;         // torch-fidelity's
inline constexpr int64_t kScoreSplitImages = 5000;  // ADM's
inline constexpr int64_t kNeighbours = 3;
// With fewer samples a dimension of the features a covariance is too poor for its distance to mean much.
inline constexpr int64_t kSamplesPerDimension = 10;

struct Measures {
  double fid = 0;
  std::optional<double> sfid;                       // a network and a reference with spatial features
  ScoreOverSplits score, score_adm;                 // of kScoreSplits, and of kScoreSplitImages
  std::optional<KernelDistance> kid;                // a reference with images
  std::optional<PrecisionRecall> precision_recall;  // the same
};

// REQUIRES: rank 0; 2 samples at least, whose logits and features were kept. `seed` keys KID's subsets. `before_each`
// is called between the parts of KID, precision and recall, which take longest: what it throws ends the work.
Measures measure(const FeatureSet& samples, const Reference& reference, uint64_t seed, const KernelConfig& kid,
                 int64_t neighbours, const std::function<void()>& before_each);

// {"fid": ..., "sfid": null or number, "is_10_splits": {"mean","deviation"}, ...}
Json to_json(const Measures& measures);

}  // namespace cfm::evaluator
