#include "evaluator/fid_cost.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <functional>
#include <vector>

#include "evaluator/feature_pass.h"
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

double most_batches(int64_t count, int64_t block, int64_t batch, int ranks) {
  int64_t most = 0;
  for (int r = 0; r < ranks; ++r) {
    const flow::SampleRange share = flow::samples_of_rank(count, block, r, ranks);
    most = std::max(most, share.last - share.first);
  }
  return std::ceil(static_cast<double>(most) / static_cast<double>(batch));
}

std::string cost_text(const FidWork& work) {
  const double sampling = work.sampling_calls * work.call_seconds, errors = work.error_calls * work.call_seconds,
               features = work.feature_calls * work.feature_call_seconds;
  std::array<char, 256> text{};
  std::snprintf(text.data(), text.size(), "cost         about %s: sampling %s%s, %sfeatures of %lld images %s",
                metrics::duration_text(sampling + errors + features).c_str(), metrics::duration_text(sampling).c_str(),
                work.is_a_guess ? " if an image takes 100 network evaluations" : "",
                errors > 0 ? ("errors " + metrics::duration_text(errors) + ", ").c_str() : "",
                static_cast<long long>(work.feature_images), metrics::duration_text(features).c_str());
  return text.data();
}

}  // namespace cfm::evaluator
