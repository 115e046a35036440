#pragma once
// A small network under test on several ranks, its batches and its loss, on the device that the environment's
// CFM_TEST_DEVICE names (cpu, if none).

#include <ATen/Context.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/tensor.h>

#include <cmath>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "base/philox.h"
#include "parallel/device.h"
#include "support/mpi_tests.h"

namespace cfm::test {

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

inline c10::Device device() {
  static const c10::Device chosen = [] {
    const char* wanted = std::getenv("CFM_TEST_DEVICE");
    at::globalContext().setAllowTF32CuDNN(false);  // gradients are compared in full precision
    return parallel::choose_device(session(), wanted == nullptr ? "cpu" : wanted);
  }();
  return chosen;
}

inline at::Tensor normal(at::IntArrayRef shape, uint64_t id) {
  const int64_t n = c10::multiply_integers(shape);
  std::vector<float> values(static_cast<size_t>(n));
  fill_normal(values, Stream{5, Purpose::kNoise, id});
  return at::tensor(values).view(shape).to(device());
}

// Convolutions with SiLU between them: 3 -> 16 -> 16 -> 16 -> 3 channels, 5,651 parameters.
struct Net {
  NamedTensors parameters;
  explicit Net(uint64_t seed = 1) {
    const std::vector<int64_t> channels{3, 16, 16, 16, 3};
    for (size_t i = 0; i + 1 < channels.size(); ++i) {
      const std::string name = "conv" + std::to_string(i);
      const double scale = 1 / std::sqrt(9.0 * static_cast<double>(channels[i]));
      add(name + ".weight", normal({channels[i + 1], channels[i], 3, 3}, 100 * seed + i) * scale);
      add(name + ".bias", normal({channels[i + 1]}, 100 * seed + 50 + i) * 0.1);
    }
  }
  void add(const std::string& name, const at::Tensor& value) {
    parameters.emplace_back(name, value.contiguous().set_requires_grad(true));
  }
  at::Tensor operator()(at::Tensor x) const {
    for (size_t i = 0; i + 1 < parameters.size(); i += 2) {
      x = at::conv2d(i == 0 ? x : at::silu(x), parameters[i].second, parameters[i + 1].second, 1, 1);
    }
    return x;
  }
};

inline constexpr int64_t kGlobalBatch = 11;  // divides by none of 2, 3, 4

// Inputs and targets of the whole batch of a step.
struct Batch {
  at::Tensor x, y;
  explicit Batch(uint64_t step)
      : x(normal({kGlobalBatch, 3, 8, 8}, 1000 + step)), y(normal({kGlobalBatch, 3, 8, 8}, 2000 + step)) {}
};

// Summed over images [first, last), as a share of the mean over the whole batch.
inline at::Tensor loss_of(const Net& net, const Batch& batch, int64_t first, int64_t last) {
  const at::Tensor difference = net(batch.x.slice(0, first, last)) - batch.y.slice(0, first, last);
  return difference.square().mean({1, 2, 3}).sum() / static_cast<double>(kGlobalBatch);
}

}  // namespace cfm::test
