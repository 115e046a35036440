#pragma once
// Statistics of reference images as others publish them.

#include <filesystem>
#include <optional>
#include <string>

#include "evaluator/feature_network.h"
#include "evaluator/moments.h"

namespace cfm::evaluator {

struct PublishedStatistics {
  std::optional<Gaussian> features, spatial;
  bool has_images = false;  // arr_0
  std::string hash;         // XXH3-128 of the file
};

// Of an .npz with mu and sigma (pytorch-fid, EDM), and maybe mu_s, sigma_s and arr_0 (ADM); float32 or float64. Nothing
// for any other file or folder; mu_s and sigma_s are not looked at if the network has no spatial features. Error names
// file and array: another width than the network's features, a covariance that is not square or not symmetric, numbers
// that are not finite.
PublishedStatistics read_published_statistics(const std::filesystem::path& place, const FeatureNetwork& network);

}  // namespace cfm::evaluator
