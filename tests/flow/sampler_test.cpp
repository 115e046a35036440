#include "flow/sampler.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/philox.h"
#include "flow/path.h"
#include "support/flow_tensors.h"

namespace cfm::flow {
namespace {

const std::vector<int64_t> kShape{3, 6, 6};

// A small convolutional velocity that depends on x, on t and on the sample's number (as labels do), float32.
SampleVelocity convolutional() {
  const at::Tensor in = (tests::some_normals({8, 3, 3, 3}, 1) * 0.3).to(at::kFloat);
  const at::Tensor out = (tests::some_normals({3, 8, 3, 3}, 2) * 0.3).to(at::kFloat);
  return [=](const at::Tensor& x, const at::Tensor& t, std::span<const int64_t> samples) {
    const at::Tensor number = at::tensor(at::IntArrayRef(samples.data(), samples.size()), at::kLong);
    const at::Tensor label = number.remainder(10).to(at::kFloat) * 0.1;
    const at::Tensor hidden = at::conv2d(x, in, {}, 1, 1) + factor_of(t + label, x);
    return at::conv2d(hidden.tanh(), out, {}, 1, 1);
  };
}

SampleConfig config_of(int64_t net_batch) { return {{"heun2", 4, "uniform", 1}, net_batch, 77}; }

TEST(Sampler, BitsDoNotDependOnWhereARangeBeginsOrEnds) {
  const at::Tensor all = sample_images(convolutional(), config_of(5), 0, 23, kShape, at::kCPU);
  ASSERT_EQ(all.sizes(), (at::IntArrayRef{23, 3, 6, 6}));
  for (int64_t first = 0; first < 23; first += 3) {
    for (int64_t count = 0; first + count <= 23; count += 4) {
      const at::Tensor part = sample_images(convolutional(), config_of(5), first, count, kShape, at::kCPU);
      ASSERT_TRUE(part.equal(all.narrow(0, first, count))) << first << " + " << count;
    }
  }
}

TEST(Sampler, BitsDoNotDependOnTheNumberOfRanks) {
  const at::Tensor all = sample_images(convolutional(), config_of(4), 0, 22, kShape, at::kCPU);
  for (const int size : {1, 2, 3, 4, 9}) {
    for (int rank = 0; rank < size; ++rank) {
      const auto [first, last] = samples_of_rank(22, 4, rank, size);
      const at::Tensor part = sample_images(convolutional(), config_of(4), first, last - first, kShape, at::kCPU);
      ASSERT_TRUE(part.equal(all.narrow(0, first, last - first))) << "rank " << rank << " of " << size;
    }
  }
}

TEST(Sampler, TheNetworkAlwaysSeesTheSameBatchShapeAndBatchesBeginAtMultiplesOfIt) {
  std::vector<int64_t> starts;
  const SampleVelocity spy = [&](const at::Tensor& x, const at::Tensor& t, std::span<const int64_t> samples) {
    if (t[0].item<float>() == 0 && (starts.empty() || starts.back() != samples.front()))
      starts.push_back(samples.front());
    EXPECT_EQ(samples.size(), 8U);
    EXPECT_EQ(x.size(0), 8);
    return at::zeros_like(x);
  };
  sample_images(spy, config_of(8), 13, 12, kShape, at::kCPU);
  EXPECT_EQ(starts, (std::vector<int64_t>{8, 16, 24}));
}

TEST(Sampler, WithoutAVelocityTheImagesAreTheKeyedNoise) {
  const SampleVelocity none = [](const at::Tensor& x, const at::Tensor&, auto) { return at::zeros_like(x); };
  const at::Tensor images = sample_images(none, config_of(5), 7, 6, kShape, at::kCPU);
  for (int64_t i = 0; i < 6; ++i) {
    std::vector<float> noise(108);
    fill_normal(noise, {77, Purpose::kSampleNoise, static_cast<uint64_t>(7 + i)});
    for (int64_t j = 0; j < 108; ++j) {
      const double level = std::clamp(std::floor(128 * (noise[static_cast<size_t>(j)] + 1.0)), 0.0, 255.0);
      ASSERT_NEAR(images[i].flatten()[j].item<double>(), level, 0);
    }
  }
}

// The field that carries all noise to one image reaches it exactly with sigma_min 0, by any solver.
TEST(Sampler, TheFieldOfASingleImageDrawsThatImage) {
  const at::Tensor image = at::arange(108, at::kByte).view({1, 3, 6, 6}) * 2;
  const at::Tensor x1 = (image.to(at::kFloat) + 0.5) / 128 - 1;
  const SampleVelocity field = [&x1](const at::Tensor& x, const at::Tensor& t, auto) {
    return conditional_velocity({.path = "ot", .sigma_min = 0}, x, x1.expand_as(x), t);
  };
  for (const std::string solver : {"euler", "midpoint"}) {
    const SampleConfig config{{solver, 10, "uniform", 1}, 4, 1};
    EXPECT_TRUE(sample_images(field, config, 0, 6, kShape, at::kCPU).equal(image.expand({6, 3, 6, 6}))) << solver;
  }
}

TEST(Sampler, RanksShareAllSamplesInWholeBatchesAsEvenlyAsCanBe) {
  for (const int64_t count : {0, 1, 7, 64, 65, 1000}) {
    for (const int64_t net_batch : {1, 7, 64}) {
      for (const int size : {1, 2, 3, 5, 16}) {
        int64_t next = 0, fewest = count, most = 0;
        for (int rank = 0; rank < size; ++rank) {
          const auto [first, last] = samples_of_rank(count, net_batch, rank, size);
          ASSERT_EQ(first, next);
          ASSERT_TRUE(first % net_batch == 0 || first == count);
          const int64_t batches = (last - first + net_batch - 1) / net_batch;
          fewest = std::min(fewest, batches);
          most = std::max(most, batches);
          next = last;
        }
        ASSERT_EQ(next, count);
        ASSERT_LE(most - fewest, 1);
      }
    }
  }
}

TEST(Sampler, RefusesABatchOfNothing) {
  EXPECT_EQ(config_of(0).validate().size(), 1U);
  EXPECT_THROW(sample_images(convolutional(), config_of(0), 0, 1, kShape, at::kCPU), SharedError);
}

}  // namespace
}  // namespace cfm::flow
