#pragma once
// Of models/kernels_body.h: dropout's masks.

#include <cstddef>

#include "models/kernels_element.h"

namespace cfm::models {
namespace {

constexpr int kLanes = 16;
constexpr int kMaskElements = 8 * kLanes;

// Philox4x32-10 on kLanes consecutive blocks; bytes of their 8 * kLanes elements.
inline void mask_of_blocks(const MaskStream& stream, uint32_t block, uint8_t* mask) {
  const uint32_t purpose = stream.purpose;
  const uint32_t draw_low = static_cast<uint32_t>(stream.draw), draw_high = static_cast<uint32_t>(stream.draw >> 32);
  const uint32_t seed_low = static_cast<uint32_t>(stream.seed), seed_high = static_cast<uint32_t>(stream.seed >> 32);
  alignas(64) uint32_t words[4 * kLanes];
#pragma omp simd
  for (int i = 0; i < kLanes; ++i) {
    uint32_t c0 = block + static_cast<uint32_t>(i), c1 = purpose, c2 = draw_low, c3 = draw_high;
    uint32_t k0 = seed_low, k1 = seed_high;
#pragma GCC unroll 10
    for (int round = 0; round < 10; ++round) {
      const uint32_t low0 = 0xD2511F53U * c0, low1 = 0xCD9E8D57U * c2;
      const uint32_t high0 = static_cast<uint32_t>((uint64_t{0xD2511F53} * c0) >> 32);
      const uint32_t high1 = static_cast<uint32_t>((uint64_t{0xCD9E8D57} * c2) >> 32);
      c0 = high1 ^ c1 ^ k0;
      c2 = high0 ^ c3 ^ k1;
      c1 = low1;
      c3 = low0;
      k0 += 0x9E3779B9;
      k1 += 0xBB67AE85;
    }
    // NOLINTBEGIN(bugprone-implicit-widening-of-multiplication-result): the compiler vectorises over an int
    words[4 * i] = c0;
    words[4 * i + 1] = c1;
    words[4 * i + 2] = c2;
    words[4 * i + 3] = c3;
    // NOLINTEND(bugprone-implicit-widening-of-multiplication-result)
  }
  alignas(64) uint16_t halves[kMaskElements];  // on a little-endian machine the low half is first
  static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);
  __builtin_memcpy(halves, words, sizeof(words));
  for (int i = 0; i < kMaskElements; ++i) mask[i] = halves[i] >= stream.threshold;
}

void fill_mask(const MaskStream& stream, int64_t first, int64_t count, uint8_t* mask) {
  int64_t block = first / 8;
  int64_t skip = first % 8;
  while (count > 0) {
    const uint32_t at = stream.first_block + static_cast<uint32_t>(block);
    int64_t made = kMaskElements - skip;
    if (skip == 0 && count >= kMaskElements) {
      mask_of_blocks(stream, at, mask);
    } else {
      uint8_t some[kMaskElements];
      mask_of_blocks(stream, at, some);
      made = made < count ? made : count;
      __builtin_memcpy(mask, some + skip, static_cast<size_t>(made));
    }
    mask += made;
    count -= made;
    block += kLanes;
    skip = 0;
  }
}

template <class T, class Scale>
void multiply(const T* x, const uint8_t* mask, Scale keep_scale, int64_t count, T* y) {
  for (int64_t i = 0; i < count; ++i) store(y + i, load(x + i) * (static_cast<Scale>(mask[i]) * keep_scale));
}

}  // namespace
}  // namespace cfm::models
