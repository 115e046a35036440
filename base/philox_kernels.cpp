// Compiled with -ffp-contract=off -fno-math-errno -fno-trapping-math (base/CMakeLists.txt): loops that GCC vectorises,
// and no fused multiply-add, which would make the bits depend on the instruction set.
#include "base/philox_kernels.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace cfm {
namespace {

// Blocks computed at once: their words stay in the first-level cache.
constexpr size_t kChunk = 64;

[[gnu::always_inline]] inline void bits_chunk(uint32_t* __restrict out, size_t blocks, Stream stream,
                                              uint32_t first_block) {
  const auto purpose = static_cast<uint32_t>(stream.purpose);
  const auto id_low = static_cast<uint32_t>(stream.id);
  const auto id_high = static_cast<uint32_t>(stream.id >> 32);
  const auto seed_low = static_cast<uint32_t>(stream.seed);
  const auto seed_high = static_cast<uint32_t>(stream.seed >> 32);
  for (size_t i = 0; i < blocks; ++i) {
    uint32_t c0 = first_block + static_cast<uint32_t>(i), c1 = purpose, c2 = id_low, c3 = id_high;
    uint32_t k0 = seed_low, k1 = seed_high;
#pragma GCC unroll 10
    for (int round = 0; round < 10; ++round) {
      const auto high0 = static_cast<uint32_t>((uint64_t{0xD2511F53} * c0) >> 32);
      const auto high1 = static_cast<uint32_t>((uint64_t{0xCD9E8D57} * c2) >> 32);
      const uint32_t low0 = 0xD2511F53U * c0, low1 = 0xCD9E8D57U * c2;
      c0 = high1 ^ c1 ^ k0;
      c1 = low1;
      c2 = high0 ^ c3 ^ k1;
      c3 = low0;
      k0 += 0x9E3779B9;
      k1 += 0xBB67AE85;
    }
    out[4 * i] = c0;
    out[4 * i + 1] = c1;
    out[4 * i + 2] = c2;
    out[4 * i + 3] = c3;
  }
}

// sqrt(-2 log u) for u = (n + 1/2) 2^-31, n = word >> 1: u is never 0 or 1, and the tails reach 6.66 standard
// deviations.
[[gnu::always_inline]] inline float radius(uint32_t word) {
  const auto n = static_cast<int32_t>(word >> 1);
  // u = 2^e (1 + f), 1 + f in [sqrt(1/2), sqrt(2)).
  const float u = (static_cast<float>(n) + 0.5F) * 0x1p-31F;
  const auto bits = std::bit_cast<int32_t>(u);
  const int32_t e = (bits - 0x3F3504F3) >> 23;
  const float f_rounded = std::bit_cast<float>(bits - e * (1 << 23)) - 1;
  // Near u = 1, where log u ~ -(1 - u), the rounding of u would count: 1 - u is taken from the integer.
  const float f_near_one = (static_cast<float>(0x7FFFFFFF - n) + 0.5F) * -0x1p-31F;
  const float f = e == 0 ? f_near_one : f_rounded;
  // log(1 + f) = f - f^2/2 + f^3 P(f), P minimax for the relative error, 6e-9 on this interval.
  float p = -7.634429908e-02F;
  p = p * f + 1.276155036e-01F;
  p = p * f - 1.316019505e-01F;
  p = p * f + 1.420176247e-01F;
  p = p * f - 1.662335648e-01F;
  p = p * f + 2.000122667e-01F;
  p = p * f - 2.500082106e-01F;
  p = p * f + 3.333333171e-01F;
  const float f2 = f * f;
  const float log_u = (f + (f2 * f * p - 0.5F * f2)) + static_cast<float>(e) * 0.693147181F;
  return std::sqrt(-2 * log_u);
}

struct Direction {
  float cosine, sine;
};

// Of the angle 2 pi word / 2^32: quarter turns are exact in integers, the rest lies in [-pi/4, pi/4].
[[gnu::always_inline]] inline Direction direction(uint32_t word) {
  const uint32_t quarter = (word + 0x20000000U) >> 30;
  const float x = static_cast<float>(static_cast<int32_t>(word - (quarter << 30))) * 1.46291808e-9F;  // 2 pi 2^-32
  const float z = x * x;
  // Minimax for the relative error: 4e-9 and 1.2e-10.
  const float s = x + x * z * ((-1.951528213e-04F * z + 8.332160752e-03F) * z - 1.666665461e-01F);
  const float c = 1 - 0.5F * z + z * z * ((2.443315528e-05F * z - 1.388731624e-03F) * z + 4.166664568e-02F);
  const bool swap = (quarter & 1) != 0;
  const auto cosine = std::bit_cast<uint32_t>(swap ? s : c) ^ (((quarter + 1) & 2) << 30);
  const auto sine = std::bit_cast<uint32_t>(swap ? c : s) ^ ((quarter & 2) << 30);
  return {std::bit_cast<float>(cosine), std::bit_cast<float>(sine)};
}

[[gnu::always_inline]] inline void bits_loop(uint32_t* out, size_t blocks, Stream stream, uint32_t first_block) {
  bits_chunk(out, blocks, stream, first_block);
}

[[gnu::always_inline]] inline void uniform_loop(float* __restrict out, size_t blocks, Stream stream,
                                                uint32_t first_block) {
  alignas(64) uint32_t words[4 * kChunk];
  for (size_t done = 0; done < blocks; done += kChunk) {
    const size_t n = std::min(kChunk, blocks - done);
    bits_chunk(words, n, stream, first_block + static_cast<uint32_t>(done));
    float* __restrict at = out + 4 * done;
    for (size_t i = 0; i < 4 * n; ++i) at[i] = static_cast<float>(static_cast<int32_t>(words[i] >> 8)) * 0x1p-24F;
  }
}

// Box-Muller: words 2i and 2i + 1 give values 2i (cosine) and 2i + 1 (sine).
[[gnu::always_inline]] inline void normal_loop(float* __restrict out, size_t blocks, Stream stream,
                                               uint32_t first_block) {
  alignas(64) uint32_t words[4 * kChunk];
  for (size_t done = 0; done < blocks; done += kChunk) {
    const size_t n = std::min(kChunk, blocks - done);
    bits_chunk(words, n, stream, first_block + static_cast<uint32_t>(done));
    float* __restrict at = out + 4 * done;
    for (size_t i = 0; i < 2 * n; ++i) {
      const float r = radius(words[2 * i]);
      const Direction toward = direction(words[2 * i + 1]);
      at[2 * i] = r * toward.cosine;
      at[2 * i + 1] = r * toward.sine;
    }
  }
}

void bits_plain(uint32_t* out, size_t n, Stream s, uint32_t first) { bits_loop(out, n, s, first); }
void uniform_plain(float* out, size_t n, Stream s, uint32_t first) { uniform_loop(out, n, s, first); }
void normal_plain(float* out, size_t n, Stream s, uint32_t first) { normal_loop(out, n, s, first); }

#if defined(__x86_64__)
[[gnu::target("arch=x86-64-v3")]] void bits_v3(uint32_t* out, size_t n, Stream s, uint32_t first) {
  bits_loop(out, n, s, first);
}
[[gnu::target("arch=x86-64-v3")]] void uniform_v3(float* out, size_t n, Stream s, uint32_t first) {
  uniform_loop(out, n, s, first);
}
[[gnu::target("arch=x86-64-v3")]] void normal_v3(float* out, size_t n, Stream s, uint32_t first) {
  normal_loop(out, n, s, first);
}
[[gnu::target("arch=x86-64-v4")]] void bits_v4(uint32_t* out, size_t n, Stream s, uint32_t first) {
  bits_loop(out, n, s, first);
}
[[gnu::target("arch=x86-64-v4")]] void uniform_v4(float* out, size_t n, Stream s, uint32_t first) {
  uniform_loop(out, n, s, first);
}
[[gnu::target("arch=x86-64-v4")]] void normal_v4(float* out, size_t n, Stream s, uint32_t first) {
  normal_loop(out, n, s, first);
}
#endif

}  // namespace

// Chosen at run time by hand: ifuncs (target_clones) run before ThreadSanitizer is up, and crash it.
std::vector<PhiloxKernels> philox_kernels_here() {
  std::vector<PhiloxKernels> here{{"plain", bits_plain, uniform_plain, normal_plain}};
#if defined(__x86_64__)
  const bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
  const bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                  __builtin_cpu_supports("avx512vl");
  if (v3) here.push_back({"x86-64-v3", bits_v3, uniform_v3, normal_v3});
  if (v4) here.push_back({"x86-64-v4", bits_v4, uniform_v4, normal_v4});
#endif
  return here;
}

}  // namespace cfm
