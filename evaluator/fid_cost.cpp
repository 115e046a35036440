#include "evaluator/fid_cost.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <functional>
#include <vector>

#include "evaluator/feature_pass.h"
#include "evaluator/measures.h"
#include "evaluator/precision_recall.h"
#include "flow/sampler.h"
#include "metrics/progress.h"
#include "parallel/device.h"

namespace cfm::evaluator {
namespace {

// Of the second call: the first one allocates, and chooses algorithms.
double seconds_of(const std::function<void()>& call, const parallel::MpiSession& session) {
  call();
  const auto start = std::chrono::steady_clock::now();
  call();
  std::array<double, 1> seconds{std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count()};
  session.control().max(seconds);
  return seconds[0];
}

// The same of a call that rank 0 alone makes.
double seconds_of_rank_0(const std::function<void()>& call, const parallel::MpiSession& session) {
  return seconds_of(session.rank() == 0 ? call : std::function<void()>([] {}), session);
}

}  // namespace

double seconds_a_call(const flow::SampleVelocity& velocity, int64_t net_batch, const data::ImageShape& shape,
                      c10::Device device, const parallel::MpiSession& session) {
  const at::NoGradGuard no_gradients;
  const at::TensorOptions options = at::TensorOptions(at::kFloat).device(device);
  const at::Tensor x = at::zeros({net_batch, shape.channels, shape.height, shape.width}, options);
  const at::Tensor t = at::full({net_batch}, 0.5, options.dtype(at::kDouble));
  const std::vector<int64_t> samples(static_cast<size_t>(net_batch), 0);
  return seconds_of(
      [&] {
        velocity(x, t, samples);
        parallel::synchronize(device);
      },
      session);
}

double seconds_a_feature_batch(const FeatureNetwork& network, const data::ImageShape& shape,
                               const parallel::MpiSession& session) {
  const at::Tensor images = at::full({kFeatureBatch, shape.channels, shape.height, shape.width}, 100, at::kByte);
  return seconds_of([&] { network.features_of(images); }, session);
}

double seconds_of_distances(int64_t samples, int64_t reference, int64_t dimensions, const KernelConfig& kid,
                            const parallel::MpiSession& session) {
  constexpr int64_t kProbe = 512;  // vectors of each set
  const at::Tensor x = at::arange(kProbe * dimensions, at::kFloat).sin_().view({kProbe, dimensions}), y = x.flip(1);
  const double one_subset = seconds_of_rank_0([&] { kernel_distance(x, y, 0, {1, kProbe}); }, session);
  const double both = seconds_of_rank_0([&] { precision_recall(x, y, kNeighbours); }, session);
  // They grow as the pairs of vectors: of a subset with itself and with the other; of all vectors with all.
  const auto times = [](int64_t vectors, int64_t of_probe) {
    return std::pow(static_cast<double>(vectors) / static_cast<double>(of_probe), 2);
  };
  return static_cast<double>(kid.subsets) * one_subset *
             times(std::min({kid.subset_size, samples, reference}), kProbe) +
         both * times(samples + reference, 2 * kProbe);
}

double most_batches(int64_t count, int64_t block, int64_t batch, int ranks) {
  int64_t most = 0;
  for (int r = 0; r < ranks; ++r) {
    const flow::SampleRange share = flow::samples_of_rank(count, block, r, ranks);
    most = std::max(most, share.last - share.first);
  }
  return std::ceil(static_cast<double>(most) / static_cast<double>(batch));
}

std::string cost_text(const FidWork& work) {
  using metrics::duration_text;
  const double sampling = work.sampling_calls * work.call_seconds, errors = work.error_calls * work.call_seconds,
               features = work.feature_calls * work.feature_call_seconds, distances = work.distance_seconds;
  return "cost         about " + duration_text(sampling + errors + features + distances) + ": sampling " +
         duration_text(sampling) + (work.is_a_guess ? " if an image takes 100 network evaluations" : "") +
         (errors > 0 ? ", errors " + duration_text(errors) : "") + ", features of " +
         std::to_string(work.feature_images) + " images " + duration_text(features) +
         (distances > 0 ? ", KID, precision and recall " + duration_text(distances) : "");
}

}  // namespace cfm::evaluator
