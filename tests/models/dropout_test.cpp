#include "models/dropout.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <bit>
#include <cmath>

#include "base/error.h"
#include "base/philox.h"
#include "models/kernels.h"

namespace cfm::models {
namespace {

constexpr DropoutKey kKey{0x0123456789abcdef,
                          0x00000005fffffffe};  // the third sample's draw carries into the high word

// The contract of dropout.h, element by element, from the generator that has the published test vectors.
bool kept(double p, const DropoutKey& key, uint32_t layer, int64_t sample, int64_t element) {
  const uint64_t draw = key.first_draw + static_cast<uint64_t>(sample);
  const auto block = philox4x32_10({static_cast<uint32_t>(layer * (1U << 20) + element / 8), 7,
                                    static_cast<uint32_t>(draw), static_cast<uint32_t>(draw >> 32)},
                                   {static_cast<uint32_t>(key.seed), static_cast<uint32_t>(key.seed >> 32)});
  const uint32_t word = block[static_cast<size_t>(element % 8 / 2)];
  const uint32_t bits = element % 2 == 0 ? word & 0xffff : word >> 16;
  return bits >= static_cast<uint32_t>(std::round(p * 65536));
}

at::Tensor expected_mask(at::IntArrayRef shape, double p, const DropoutKey& key, uint32_t layer) {
  at::Tensor mask = at::empty(shape, at::kDouble);
  double* const out = mask.mutable_data_ptr<double>();
  const int64_t size = mask.numel() / mask.size(0);
  for (int64_t i = 0; i < mask.numel(); ++i) out[i] = kept(p, key, layer, i / size, i % size) ? 1 : 0;
  return mask;
}

TEST(KeyedDropout, IsThePhiloxMaskForEveryShapeTypeAndMemoryFormat) {
  for (const std::vector<int64_t>& shape : std::vector<std::vector<int64_t>>{
           {3, 64, 8, 8}, {2, 33, 5, 7}, {4, 3, 1, 1}, {1, 1, 3, 3}, {3, 100}, {2, 40, 16, 16}, {2, 5000}}) {
    for (const double p : {0.1, 0.5, 0.9}) {
      const double scale = 1 / (1 - std::round(p * 65536) / 65536);
      const at::Tensor expected = expected_mask(shape, p, kKey, 11) * scale;
      for (const at::ScalarType type : {at::kDouble, at::kFloat, at::kBFloat16}) {
        at::Tensor ones = at::ones(shape, type);
        EXPECT_TRUE(keyed_dropout(ones, p, kKey, 11).equal(expected.to(type))) << c10::toString(type) << ones.sizes();
        if (shape.size() != 4) continue;
        ones = ones.contiguous(at::MemoryFormat::ChannelsLast);
        const at::Tensor last = keyed_dropout(ones, p, kKey, 11);
        EXPECT_TRUE(last.equal(expected.to(type))) << c10::toString(type) << ones.sizes();
        EXPECT_EQ(last.strides(), ones.strides());
      }
    }
  }
}

TEST(KeyedDropout, UsesTheStreamOfBasePhilox) {
  std::array<uint32_t, 64> words{};
  fill_bits(words, {kKey.seed, Purpose::kDropout, kKey.first_draw}, 3U << 20);
  std::array<uint8_t, 128> mask{};
  KeptElements(0.25, kKey, 3, 128).fill(0, 0, 128, mask.data());
  for (size_t i = 0; i < 128; ++i) {
    EXPECT_EQ(mask[i], (i % 2 == 0 ? words[i / 2] & 0xffff : words[i / 2] >> 16) >= 16384U ? 1 : 0) << i;
  }
}

TEST(KeyedDropout, EveryInstructionSetGivesTheSameBitsFromAnyElementOn) {
  std::vector<const Kernels*> sets{&portable_kernels()};
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) sets.push_back(&avx2_kernels());
  if (&kernels() == &avx512_kernels()) sets.push_back(&avx512_kernels());
#endif
  for (const Kernels* const set : sets) {
    for (const int64_t first : {0, 1, 8, 127, 128, 1003}) {
      std::vector<uint8_t> mask(300, 7);
      set->fill_mask({kKey.seed, 7, kKey.first_draw, 5U << 20, 6554}, first, 299, mask.data());
      for (int64_t i = 0; i < 299; ++i) {
        ASSERT_EQ(mask[static_cast<size_t>(i)], kept(0.1, kKey, 5, 0, first + i) ? 1 : 0)
            << set->instruction_set << first << i;
      }
      EXPECT_EQ(mask[299], 7);
    }
  }
}

TEST(KeyedDropout, DependsOnTheDrawAndNotOnThePlaceInTheBatch) {
  const at::Tensor h = at::randn({6, 32, 4, 4});
  const at::Tensor joined = keyed_dropout(h, 0.3, {1, 50}, 2);
  EXPECT_TRUE(keyed_dropout(h.narrow(0, 4, 2), 0.3, {1, 54}, 2).equal(joined.narrow(0, 4, 2)));
  EXPECT_FALSE(keyed_dropout(h, 0.3, {1, 51}, 2).equal(joined));
  EXPECT_FALSE(keyed_dropout(h, 0.3, {2, 50}, 2).equal(joined));
  EXPECT_FALSE(keyed_dropout(h, 0.3, {1, 50}, 3).equal(joined));
  EXPECT_FALSE(keyed_dropout(h, 0.3, {1 + (uint64_t{1} << 40), 50}, 2).equal(joined));
}

TEST(KeyedDropout, DropsTheShareThatItIsToldAndKeepsTheMean) {
  constexpr int64_t kCount = 1 << 20;
  const at::Tensor ones = at::ones({4, kCount / 4}, at::kDouble);
  for (const double p : {0.01, 0.1, 0.3, 0.7}) {
    const at::Tensor y = keyed_dropout(ones, p, {3, 0}, 0);
    const double rounded = std::round(p * 65536) / 65536;
    const double deviation = std::sqrt(rounded * (1 - rounded) / kCount);
    EXPECT_NEAR((y == 0).to(at::kDouble).mean().item<double>(), rounded, 4 * deviation) << p;
    EXPECT_NEAR(y.mean().item<double>(), 1, 4 * deviation / (1 - rounded)) << p;
    const at::Tensor dropped = (y == 0).to(at::kDouble).flatten();  // neighbours are independent
    const at::Tensor both = dropped.narrow(0, 0, kCount - 1) * dropped.narrow(0, 1, kCount - 1);
    EXPECT_NEAR(both.mean().item<double>(), rounded * rounded, 5 * std::sqrt(rounded * rounded / kCount)) << p;
  }
}

TEST(KeyedDropout, BackwardAppliesTheSameMaskTwiceDifferentiably) {
  for (const bool last : {false, true}) {
    at::Tensor h = at::randn({2, 32, 4, 4}, at::kDouble);
    if (last) h = h.contiguous(at::MemoryFormat::ChannelsLast);
    h.requires_grad_();
    const at::Tensor mask = expected_mask(h.sizes(), 0.4, kKey, 1) / (1 - std::round(0.4 * 65536) / 65536);
    const at::Tensor up = at::randn({2, 32, 4, 4}, at::kDouble);  // NCHW whatever h is
    const at::Tensor y = keyed_dropout(h, 0.4, kKey, 1);
    EXPECT_TRUE(torch::autograd::grad({y}, {h}, {up}, true)[0].allclose(mask * up, 1e-14, 0));
    const at::Tensor z = keyed_dropout(h, 0.4, kKey, 1).square().sum();  // d2z/dh2 = 2 mask^2
    const at::Tensor first = torch::autograd::grad({z}, {h}, {}, true, true)[0];
    const at::Tensor second = torch::autograd::grad({first}, {h}, {up})[0];
    EXPECT_TRUE(second.allclose(2 * mask.square() * up, 1e-14, 0));
  }
}

TEST(KeyedDropout, ZeroProbabilityIsTheIdentityAndBadOnesAreNamed) {
  const at::Tensor h = at::randn({2, 8});
  EXPECT_TRUE(keyed_dropout(h, 0, kKey, 0).is_same(h));
  EXPECT_THROW(keyed_dropout(h, 1, kKey, 0), Error);
  EXPECT_THROW(keyed_dropout(h, -0.1, kKey, 0), Error);
  EXPECT_THROW(keyed_dropout(h, 0.1, kKey, 4096), Error);
  EXPECT_THROW(keyed_dropout(at::empty({1, (8 << 20) + 1}), 0.1, kKey, 0), Error);
}

}  // namespace
}  // namespace cfm::models
