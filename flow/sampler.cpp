#include "flow/sampler.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cassert>

#include "flow/draws.h"
#include "flow/pixels.h"

namespace cfm::flow {

Problems SampleConfig::validate(const std::string& steps_flag) const {
  Problems problems = ode.validate(steps_flag);
  if (net_batch < 1) problems.push_back("--net_batch=" + std::to_string(net_batch) + ": expected at least 1.");
  return problems;
}

at::Tensor sample_images(const VelocityForSamples& velocity, const SampleConfig& config, int64_t first, int64_t count,
                         at::IntArrayRef image_shape, c10::Device device) {
  check_no_problems(config.validate());
  assert(first >= 0 && count >= 0);
  std::vector<int64_t> shape = image_shape.vec();
  shape.insert(shape.begin(), count);
  at::Tensor images = at::empty(shape, at::kByte);
  const Tableau& method = tableau_named(config.ode.solver);
  const std::vector<double> times = time_grid(config.ode);
  const int64_t size = config.net_batch, last = first + count;
  for (int64_t start = first / size * size; start < last; start += size) {
    const at::Tensor x0 =
        keyed_normal(config.seed, Purpose::kSampleNoise, static_cast<uint64_t>(start), size, image_shape);
    const OdeResult result = integrate_fixed(velocity(start, size), x0.to(device), method, times);
    const int64_t from = std::max(start, first), to = std::min(start + size, last);
    const at::Tensor bytes = to_bytes(result.x).cpu();
    images.narrow(0, from - first, to - from).copy_(bytes.narrow(0, from - start, to - from));
  }
  return images;
}

SampleRange samples_of_rank(int64_t count, int64_t net_batch, int rank, int size) {
  assert(count >= 0 && net_batch >= 1 && rank >= 0 && rank < size);
  const int64_t batches = (count + net_batch - 1) / net_batch;
  const auto start = [&](int64_t r) { return std::min(count, r * batches / size * net_batch); };
  return {start(rank), start(rank + 1)};
}

}  // namespace cfm::flow
