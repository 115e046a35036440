#include "flow/sampler.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <cassert>
#include <optional>

#include "flow/draws.h"
#include "flow/solve.h"

namespace cfm::flow {

Problems SampleConfig::validate(const std::string& steps_flag) const {
  Problems problems = ode.validate(steps_flag);
  if (net_batch < 1) problems.push_back("--net_batch=" + std::to_string(net_batch) + ": expected at least 1.");
  try {
    quantisation(quantise);
  } catch (const Error& e) {
    problems.emplace_back(e.what());
  }
  return problems;
}

void draw_samples(const SampleVelocity& velocity, const SampleConfig& config, int64_t first, int64_t count,
                  at::IntArrayRef image_shape, c10::Device device,
                  const std::function<void(const SampledImage&)>& done) {
  check_no_problems(config.validate());
  assert(first >= 0 && count >= 0);
  const Quantisation& by = quantisation(config.quantise);
  const Field field{[&](const Points& points, bool) {
    return Slope{velocity(points.x, points.t, points.samples), {}};
  }};
  int64_t waiting = first;
  const Queue queue{.next = [&]() -> std::optional<Start> {
                      if (waiting == first + count) return std::nullopt;
                      const int64_t sample = waiting++;
                      const at::Tensor x0 = keyed_normal(config.seed, Purpose::kSampleNoise,
                                                         static_cast<uint64_t>(sample), 1, image_shape);
                      return Start{sample, x0[0].to(device) * config.sigma0};
                    },
                    .done =
                        [&](const Solved& solved) {
                          done({solved.sample, solved.x, to_bytes(solved.x, by).cpu(), solved.nfe});
                        }};
  solve(field, config.ode, 0, config.ode.t_end, config.net_batch, queue);
}

at::Tensor sample_images(const SampleVelocity& velocity, const SampleConfig& config, int64_t first, int64_t count,
                         at::IntArrayRef image_shape, c10::Device device) {
  check_no_problems(config.validate());
  assert(first >= 0 && count >= 0);
  std::vector<int64_t> shape = image_shape.vec();
  shape.insert(shape.begin(), count);
  at::Tensor images = at::empty(shape, at::kByte);
  const int64_t size = config.net_batch, last = first + count;
  for (int64_t start = first / size * size; start < last; start += size) {
    draw_samples(velocity, config, start, size, image_shape, device, [&](const SampledImage& image) {
      if (image.sample >= first && image.sample < last) images[image.sample - first].copy_(image.bytes);
    });
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
