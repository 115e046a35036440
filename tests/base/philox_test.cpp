#include "base/philox.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>
#include <vector>

#include "base/philox_kernels.h"

namespace cfm {
namespace {

using Block = std::array<uint32_t, 4>;

std::vector<uint32_t> bits_of(Stream stream, size_t count, uint32_t first_block = 0) {
  std::vector<uint32_t> words(count);
  fill_bits(words, stream, first_block);
  return words;
}

std::vector<float> uniforms_of(Stream stream, size_t count, uint32_t first_block = 0) {
  std::vector<float> values(count);
  fill_uniform(values, stream, first_block);
  return values;
}

std::vector<float> normals_of(Stream stream, size_t count, uint32_t first_block = 0) {
  std::vector<float> values(count);
  fill_normal(values, stream, first_block);
  return values;
}

// The transform in double, straight from its definition in philox.h.
std::array<double, 2> box_muller(uint32_t first, uint32_t second) {
  const double u = ((first >> 1) + 0.5) * 0x1p-31;
  const double angle = 2 * std::numbers::pi * second * 0x1p-32;
  const double radius = std::sqrt(-2 * std::log(u));
  return {radius * std::cos(angle), radius * std::sin(angle)};
}

double normal_cdf(double x) { return 0.5 * std::erfc(-x / std::numbers::sqrt2); }

// Random123, tests/kat_vectors, the lines "philox4x32 10".
TEST(Philox, GivesThePublishedKnownAnswers) {
  EXPECT_EQ(philox4x32_10({0, 0, 0, 0}, {0, 0}), (Block{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  const uint32_t f = 0xffffffff;
  EXPECT_EQ(philox4x32_10({f, f, f, f}, {f, f}), (Block{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32_10({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Block{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

// Counter and key of the third published vector, written as a stream.
TEST(Philox, EveryInstructionSetGivesThePublishedKnownAnswer) {
  const Stream stream{0x299f31d0a4093822, static_cast<Purpose>(0x85a308d3), 0x0370734413198a2e};
  for (const PhiloxKernels& kernels : philox_kernels_here()) {
    Block words{};
    kernels.bits(words.data(), 1, stream, 0x243f6a88);
    EXPECT_EQ(words, (Block{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1})) << kernels.instruction_set;
  }
}

TEST(Philox, TheCounterIsBlockPurposeAndIdAndTheKeyIsTheSeed) {
  const Stream stream{0x1122334455667788, Purpose::kTime, 0x99aabbccddeeff00};
  const std::vector<uint32_t> words = bits_of(stream, 4 * 200 + 3, 0xffffffb0);  // the block's number wraps around
  for (size_t i = 0; i < words.size(); ++i) {
    const auto block = static_cast<uint32_t>(0xffffffb0 + i / 4);
    const Block expected = philox4x32_10({block, 4, 0xddeeff00, 0x99aabbcc}, {0x55667788, 0x11223344});
    ASSERT_EQ(words[i], expected[i % 4]) << "word " << i;
  }
}

TEST(Philox, EveryInstructionSetGivesTheSameBits) {
  const std::vector<PhiloxKernels> all = philox_kernels_here();
  for (const size_t blocks : {1, 2, 3, 7, 16, 63, 64, 65, 1000}) {
    const Stream stream{42, Purpose::kNoise, 1000 + blocks};
    std::vector<uint32_t> plain_bits(4 * blocks), bits(4 * blocks);
    std::vector<float> plain_uniform(4 * blocks), plain_normal(4 * blocks), values(4 * blocks);
    all.front().bits(plain_bits.data(), blocks, stream, 5);
    all.front().uniform(plain_uniform.data(), blocks, stream, 5);
    all.front().normal(plain_normal.data(), blocks, stream, 5);
    for (const PhiloxKernels& kernels : all) {
      kernels.bits(bits.data(), blocks, stream, 5);
      EXPECT_EQ(bits, plain_bits) << kernels.instruction_set << ", blocks " << blocks;
      kernels.uniform(values.data(), blocks, stream, 5);
      EXPECT_EQ(std::memcmp(values.data(), plain_uniform.data(), 16 * blocks), 0) << kernels.instruction_set;
      kernels.normal(values.data(), blocks, stream, 5);
      EXPECT_EQ(std::memcmp(values.data(), plain_normal.data(), 16 * blocks), 0) << kernels.instruction_set;
    }
  }
}

// A fingerprint, so that another compiler or machine is held to the same bits; FNV-1a, as it was when first computed
// here.
TEST(Philox, TheBitsOfNormalsAreThoseOfOtherMachines) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const float value : normals_of({2210, Purpose::kNoise, 2747}, 1 << 16)) {
    uint32_t bits = 0;
    std::memcpy(&bits, &value, sizeof bits);
    hash = (hash ^ bits) * 0x100000001b3;
  }
  EXPECT_EQ(hash, 0x105951f7a49f937dULL);
}

TEST(Philox, ASpanMayBeCutAtAnyBlock) {
  const Stream stream{3, Purpose::kDequantise, 77};
  const size_t count = 4 * 150 + 2;
  const std::vector<uint32_t> bits = bits_of(stream, count);
  const std::vector<float> uniforms = uniforms_of(stream, count), normals = normals_of(stream, count);
  for (uint32_t cut = 0; cut <= 150; ++cut) {
    const size_t rest = count - 4 * cut;
    EXPECT_TRUE(std::equal(bits.begin() + 4 * cut, bits.end(), bits_of(stream, rest, cut).begin()));
    EXPECT_TRUE(std::equal(uniforms.begin() + 4 * cut, uniforms.end(), uniforms_of(stream, rest, cut).begin()));
    EXPECT_TRUE(std::equal(normals.begin() + 4 * cut, normals.end(), normals_of(stream, rest, cut).begin()));
    EXPECT_TRUE(std::equal(normals.begin(), normals.begin() + 4 * cut, normals_of(stream, 4 * cut).begin()));
  }
}

TEST(Philox, AShortSpanIsTheBeginningOfALongOneAndNothingBehindItIsTouched) {
  const Stream stream{3, Purpose::kTime, 77};
  const std::vector<float> normals = normals_of(stream, 12);
  for (size_t count = 0; count < 12; ++count) {
    std::vector<float> values(13, -99);
    fill_normal(std::span(values).first(count), stream);
    EXPECT_TRUE(std::equal(values.begin(), values.begin() + static_cast<ptrdiff_t>(count), normals.begin()));
    EXPECT_TRUE(
        std::all_of(values.begin() + static_cast<ptrdiff_t>(count), values.end(), [](float v) { return v == -99; }));
  }
}

TEST(Philox, SeedPurposeAndIdEachGiveAnotherStream) {
  const Stream stream{1, Purpose::kNoise, 1};
  const std::vector<uint32_t> words = bits_of(stream, 4);
  EXPECT_NE(words, bits_of({1 + (uint64_t{1} << 40), Purpose::kNoise, 1}, 4));
  EXPECT_NE(words, bits_of({1, Purpose::kTime, 1}, 4));
  EXPECT_NE(words, bits_of({1, Purpose::kNoise, 1 + (uint64_t{1} << 40)}, 4));
}

TEST(Uniform, IsTheUpper24BitsOfEachWord) {
  const Stream stream{9, Purpose::kDequantise, 4};
  const std::vector<uint32_t> words = bits_of(stream, 10000);
  const std::vector<float> values = uniforms_of(stream, 10000);
  for (size_t i = 0; i < words.size(); ++i) {
    ASSERT_EQ(static_cast<double>(values[i]), std::floor(words[i] / 256.0) / 16777216.0);
    ASSERT_LT(values[i], 1.0F);
  }
}

TEST(Uniform, OneOf53BitsIsMadeOfTheFirstTwoWords) {
  for (uint64_t id = 0; id < 1000; ++id) {
    const Stream stream{9, Purpose::kLabelDrop, id};
    const std::vector<uint32_t> words = bits_of(stream, 2);
    ASSERT_EQ(uniform(stream), words[0] / 4294967296.0 + std::floor(words[1] / 2048.0) / 9007199254740992.0);
  }
}

TEST(Normal, TheTransformAgreesWithLogCosAndSinInDouble) {
  double worst = 0;
  for (uint64_t id = 0; id < 300; ++id) {
    const Stream stream{11, Purpose::kNoise, id};
    const std::vector<uint32_t> words = bits_of(stream, 12288);
    const std::vector<float> values = normals_of(stream, 12288);
    for (size_t i = 0; i < words.size(); i += 2) {
      const std::array<double, 2> expected = box_muller(words[i], words[i + 1]);
      for (size_t j = 0; j < 2; ++j) {
        // Where the exact value is 0, double's cos is off by 1e-16: no relative error there.
        if (std::abs(expected[j]) > 1e-8) worst = std::max(worst, std::abs(values[i + j] / expected[j] - 1));
      }
    }
  }
  EXPECT_LT(worst, 1e-6);
  RecordProperty("worst_relative_error", std::to_string(worst * 1e9) + "e-9");
}

// 4 sigma bounds on n = 2^22 values: mean 1/sqrt(n), variance sqrt(2/n), third moment sqrt(15/n), fourth sqrt(96/n).
TEST(Normal, MomentsAreThoseOfAStandardNormal) {
  const size_t n = 1 << 22;
  const std::vector<float> values = normals_of({12, Purpose::kNoise, 0}, n);
  std::array<double, 4> moments{};
  double product_of_pairs = 0;
  for (size_t i = 0; i < n; ++i) {
    const double x = values[i];
    for (size_t p = 0; p < 4; ++p) moments[p] += std::pow(x, static_cast<double>(p + 1)) / static_cast<double>(n);
    if (i % 2 == 0) product_of_pairs += 2 * x * values[i + 1] / static_cast<double>(n);
  }
  const double sigma = 1 / std::sqrt(static_cast<double>(n));
  EXPECT_NEAR(moments[0], 0, 4 * sigma);
  EXPECT_NEAR(moments[1], 1, 4 * std::sqrt(2) * sigma);
  EXPECT_NEAR(moments[2], 0, 4 * std::sqrt(15) * sigma);
  EXPECT_NEAR(moments[3], 3, 4 * std::sqrt(96) * sigma);
  EXPECT_NEAR(product_of_pairs, 0, 4 * std::sqrt(2) * sigma);
}

// A number that changed would change what every seed means.
TEST(Purpose, KeepsTheNumbersThatRunsHaveBeenMadeWith) {
  const std::vector<std::pair<Purpose, uint32_t>> numbers{{Purpose::kPermutation, 1},
                                                          {Purpose::kDequantise, 2},
                                                          {Purpose::kFlip, 3},
                                                          {Purpose::kTime, 4},
                                                          {Purpose::kNoise, 5},
                                                          {Purpose::kLabelDrop, 6},
                                                          {Purpose::kDropout, 7},
                                                          {Purpose::kValidation, 8},
                                                          {Purpose::kSampleNoise, 9},
                                                          {Purpose::kSampleLabel, 10},
                                                          {Purpose::kPackShuffle, 11},
                                                          {Purpose::kGreyLevel, 12},
                                                          {Purpose::kWeights, 13},
                                                          {Purpose::kValidationNoise, 14},
                                                          {Purpose::kValidationTime, 15},
                                                          {Purpose::kStrata, 16},
                                                          {Purpose::kNllDequantise, 20},
                                                          {Purpose::kProbe, 21}};
  for (const auto& [purpose, number] : numbers) EXPECT_EQ(static_cast<uint32_t>(purpose), number);
}

// Kolmogorov-Smirnov against the closed-form distribution; 1.95/sqrt(n) is exceeded by chance once in a thousand.
TEST(Normal, TheDistributionIsTheErrorFunctionsWithinStreamsAndAcrossThem) {
  const size_t n = 1 << 20;
  const std::vector<float> within = normals_of({13, Purpose::kNoise, 5}, n);
  std::vector<float> across(n);
  for (size_t id = 0; id < n / 4; ++id)
    fill_normal(std::span(across).subspan(4 * id, 4), {13, Purpose::kSampleNoise, id});
  for (std::vector<float> values : {within, across}) {
    std::sort(values.begin(), values.end());
    double distance = 0;
    for (size_t i = 0; i < n; ++i) {
      const double cdf = normal_cdf(values[i]);
      distance = std::max(
          {distance, std::abs(cdf - static_cast<double>(i) / n), std::abs(cdf - static_cast<double>(i + 1) / n)});
    }
    EXPECT_LT(distance, 1.95 / std::sqrt(static_cast<double>(n)));
    // The tails have the mass they should have: 5 sigma bounds on a Poisson count beyond |x| = 4.
    const double expected = 2 * normal_cdf(-4) * static_cast<double>(n);
    const auto beyond = std::count_if(values.begin(), values.end(), [](float x) { return std::abs(x) > 4; });
    EXPECT_NEAR(static_cast<double>(beyond), expected, 5 * std::sqrt(expected));
  }
}

}  // namespace
}  // namespace cfm
