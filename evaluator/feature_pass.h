#pragma once
// All ranks turn images into features; rank 0 gets what the measures need of them.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "evaluator/feature_network.h"
#include "evaluator/image_source.h"
#include "evaluator/moments.h"
#include "evaluator/shared_stop.h"
#include "parallel/mpi_session.h"

namespace cfm::evaluator {

// Images that are summed up together, at least: a block. Whole blocks are dealt to ranks.
inline constexpr int64_t kBlockImages = 512;
// Images a call of the network of features, always the same ones together: the bits do not depend on the ranks.
inline constexpr int64_t kFeatureBatch = 32;

struct FeaturePass {
  int64_t first = 0, count = 0;   // of the source's images
  int64_t block = kBlockImages;   // a multiple of the batch in which the source draws
  int64_t kept = 0;               // so many features are kept, evenly spaced over the images
  bool logits = false;            // whether all logits are kept
  std::string verb = "features";  // for the progress line
  std::function<void(const at::Tensor& images)> also = nullptr;  // is handed this rank's images, uint8 [n,C,H,W]
  std::function<void(double share)> progress = nullptr;          // hears on rank 0 how much of it is done
  SharedStop* stop = nullptr;                                    // is asked before each block
};

// At rank 0; elsewhere empty.
struct FeatureSet {
  int64_t count = 0;
  int64_t evaluations = 0;                   // of a network that drew the images
  std::optional<Moments> features, spatial;  // spatial: if the network has them
  at::Tensor kept;                           // float32 [min(kept, count),d]
  at::Tensor logits;                         // float32 [count,classes]
};

// The same bits for any number of ranks (of the same number of threads); nothing, on all ranks, if a stop was asked
// for. Error if a feature is not finite. Collective.
std::optional<FeatureSet> collect_features(const ImageSource& images, const FeaturePass& pass,
                                           const FeatureNetwork& network, const parallel::MpiSession& session);

}  // namespace cfm::evaluator
