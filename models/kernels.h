#pragma once
// The CPU loops of this folder, compiled once for every instruction set and chosen when the program starts. Plain
// pointers, no threads: callers split the work into units, so that results do not depend on the number of threads.

#include <cstdint>

namespace cfm::models {

constexpr int64_t kMaxInterleavedChannels = 512;  // of a NormUnit that is not planar

struct Bf16 {
  uint16_t bits;
};

// Which of a sample's elements dropout keeps: element e of the stream takes 16 bits, low half of a word first, from
// block first_block + e / 8 on; it is kept if they are not below `threshold` (p * 2^16).
struct MaskStream {
  uint64_t seed;
  uint32_t purpose;
  uint64_t draw;
  uint32_t first_block;
  uint16_t threshold;
};

// Some groups of channels of one sample. Null pointers: absent (0 for offset, scale and shift).
// planar: a channel's pixels are contiguous (NCHW); otherwise a pixel's channels are, `pixel_stride` apart
// (channels_last).
struct NormUnit {
  int64_t groups;
  int64_t group_channels;
  int64_t pixels;
  bool planar;
  int64_t pixel_stride;
  float epsilon;
  const float* weight;  // this and the following: one a channel of the unit
  const float* bias;
  const float* offset;
  const float* scale;
  const float* shift;
  const uint8_t* mask;  // in the memory order of x; null: no dropout
  float keep_scale;     // 1 / (1 - p)
};

// Sums over the pixels of one sample, one a channel of the unit. z: what SiLU is applied to, n: the normalised input.
struct NormSums {
  float* dz;
  float* dz_n;
  float* dx;
};

template <class T>
struct NormSiluKernels {
  // y = mask * keep_scale * silu(n * weight' + bias'), with n = (x + offset - mean) * rstd, weight' = weight * (1 +
  // scale), bias' = bias * (1 + scale) + shift. mean, rstd: [groups] out.
  void (*forward)(const NormUnit& unit, const T* x, T* y, float* mean, float* rstd);
  // dx and the sums from dy. scratch: [channels * pixels].
  void (*backward)(const NormUnit& unit, const T* x, const T* dy, const float* mean, const float* rstd, T* dx,
                   const NormSums& sums, float* scratch);
};

struct Kernels {
  const char* instruction_set;
  // mask[i] = 1 if the stream keeps element first + i, else 0.
  void (*fill_mask)(const MaskStream& stream, int64_t first, int64_t count, uint8_t* mask);
  // y[i] = x[i] * mask[i] * keep_scale
  void (*multiply_float)(const float* x, const uint8_t* mask, float keep_scale, int64_t count, float* y);
  void (*multiply_bf16)(const Bf16* x, const uint8_t* mask, float keep_scale, int64_t count, Bf16* y);
  void (*multiply_double)(const double* x, const uint8_t* mask, double keep_scale, int64_t count, double* y);
  NormSiluKernels<float> norm_silu_float;
  NormSiluKernels<Bf16> norm_silu_bf16;
};

const Kernels& portable_kernels();
const Kernels& avx2_kernels();
const Kernels& avx512_kernels();

// The best that this processor runs.
const Kernels& kernels();

}  // namespace cfm::models
