#pragma once
// What samples are compared with: statistics of the features of a data set, computed once and kept in a cache, or as
// others publish them.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>

#include "evaluator/feature_network.h"
#include "evaluator/image_source.h"
#include "evaluator/moments.h"
#include "evaluator/shared_stop.h"
#include "parallel/mpi_session.h"

namespace cfm::evaluator {

// Reference images whose features are kept for KID, precision and recall, unless another number is asked for: as many
// as ADM's reference files hold.
inline constexpr int64_t kReferenceKept = 10'000;

struct Reference {
  std::string what;                             // for people
  std::map<std::string, std::string> identity;  // of the images, or of the file of statistics
  int64_t count = 0;                            // images behind the statistics; 0: the file does not say
  std::optional<ImageSource> images;            // absent if the file holds statistics alone
  int64_t most_kept = kReferenceKept;           // features of so many are kept, if there are so many
  std::filesystem::path cache_file;             // empty: there is no folder for it
  std::string origin;                           // where the statistics came from: for people and results
  // At rank 0; elsewhere empty. `spatial` and `kept` may be missing where others made the statistics.
  std::optional<Gaussian> features, spatial;
  at::Tensor kept;  // float32 [m,d], evenly spaced over the images
  // On all ranks:
  bool published = false;  // the statistics are those of the file
  bool complete = false;   // nothing is left to compute
};

// --reference: HDF5 or .npz images as open_image_source reads them, or an .npz of mu, sigma (and mu_s, sigma_s, arr_0:
// ADM's reference files). Takes from the cache what an earlier job left there for the same images and the same network.
// Error names the file: statistics of another width than the network's features, not symmetric, or not finite.
// Collective.
Reference find_reference(const std::string& place, const FeatureNetwork& network, int64_t most_kept,
                         const parallel::MpiSession& session, data::Hdf5Process& hdf5);

// Computes what is missing, with all ranks, and leaves it in the cache; false if it was stopped. While another job
// computes the same (it holds CACHE_FILE.lease) this one waits, and then reads that; it takes over from a dead one. A
// pass that was stopped or killed begins anew. Collective.
bool complete_reference(Reference& reference, const FeatureNetwork& network, SharedStop& stop,
                        const parallel::MpiSession& session);

}  // namespace cfm::evaluator
