#pragma once
// The loops themselves, included by one file an instruction set: all of it, and of the four headers that it is made of,
// has internal linkage, and nothing that the linker could merge between those files is included. Written for the
// compiler's vectoriser.

#include "models/kernels.h"
#include "models/kernels_interleaved.h"
#include "models/kernels_mask.h"
#include "models/kernels_planar.h"

namespace cfm::models {
namespace {

<<<<<<< HEAD
=======
inline float load(const float* x) { return *x; }
inline double load(const double* x) { return *x; }
inline float load(const Bf16* x) { return __builtin_bit_cast(float, static_cast<uint32_t>(x->bits) << 16); }

inline void store(float* y, float value) { *y = value; }
inline void store(double* y, double value) { *y = value; }
// Round to nearest even; NaN stays NaN.
inline void store(Bf16* y, float value) {
  const uint32_t bits = __builtin_bit_cast(uint32_t, value);
  const uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  y->bits = static_cast<uint16_t>((bits & 0x7fffffff) > 0x7f800000 ? 0x7fc0 : rounded);
}

// exp by range reduction to [-ln 2 / 2, ln 2 / 2] and a polynomial of degree 7 (Cephes); relative error below 2e-7 on
// [-87, 88], clamped outside; NaN stays NaN.
inline float exponential(float x) {
  x = x < -87.0F ? -87.0F : x;
  x = x > 88.0F ? 88.0F : x;
  const float shifted = x * 1.44269504F + 12582912.0F;  // 1.5 * 2^23: the integer is in the low bits
  const float n = shifted - 12582912.0F;
  const float r = (x - n * 0.693359375F) - n * -2.12194440e-4F;
  float p = 1.9875691500e-4F;
  p = p * r + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  p = p * (r * r) + r + 1.0F;
  const uint32_t exponent = __builtin_bit_cast(uint32_t, shifted) - 0x4b400000U + 127U;
  return p * __builtin_bit_cast(float, exponent << 23);
}

inline float sigmoid(float z) { return 1.0F / (1.0F + exponential(-z)); }

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

inline float or_zero(const float* values, int64_t channel) { return values == nullptr ? 0.0F : values[channel]; }

// A channel's z = x * slope + intercept.
struct Line {
  float slope, intercept;
};

inline Line line_of(const NormUnit& unit, int64_t channel, float mean, float rstd) {
  const float gain = 1 + or_zero(unit.scale, channel);
  const float slope = rstd * unit.weight[channel] * gain;
  return {slope,
          (or_zero(unit.offset, channel) - mean) * slope + unit.bias[channel] * gain + or_zero(unit.shift, channel)};
}

inline float keep(const uint8_t* mask, int64_t i, float keep_scale) { return static_cast<float>(mask[i]) * keep_scale; }

// d silu(z) / dz
inline float silu_slope(float z) {
  const float s = sigmoid(z);
  return s * (1 + z * (1 - s));
}

float reciprocal_root(float variance) { return 1 / __builtin_sqrtf(variance); }

// NCHW: one group, channel by channel.

template <class T>
void planar_forward(const NormUnit& unit, int64_t first_channel, const T* x, const uint8_t* mask, T* y, float* mean_out,
                    float* rstd_out) {
  const int64_t pixels = unit.pixels;
  const float count = static_cast<float>(unit.group_channels * pixels);
  float total = 0;
  for (int64_t c = 0; c < unit.group_channels; ++c) {
    const T* row = x + c * pixels;
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < pixels; ++i) sum += load(row + i);
    total += sum + static_cast<float>(pixels) * or_zero(unit.offset, first_channel + c);
  }
  const float mean = total / count;
  float squares = 0;
  for (int64_t c = 0; c < unit.group_channels; ++c) {
    const T* row = x + c * pixels;
    const float centre = mean - or_zero(unit.offset, first_channel + c);
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < pixels; ++i) sum += (load(row + i) - centre) * (load(row + i) - centre);
    squares += sum;
  }
  const float rstd = reciprocal_root(squares / count + unit.epsilon);
  for (int64_t c = 0; c < unit.group_channels; ++c) {
    const T* row = x + c * pixels;
    T* out = y + c * pixels;
    const Line line = line_of(unit, first_channel + c, mean, rstd);
    if (mask == nullptr) {
      for (int64_t i = 0; i < pixels; ++i) {
        const float z = load(row + i) * line.slope + line.intercept;
        store(out + i, z * sigmoid(z));
      }
    } else {
      for (int64_t i = 0; i < pixels; ++i) {
        const float z = load(row + i) * line.slope + line.intercept;
        store(out + i, z * sigmoid(z) * keep(mask + c * pixels, i, unit.keep_scale));
      }
    }
  }
  *mean_out = mean;
  *rstd_out = rstd;
}

template <class T>
void planar_backward(const NormUnit& unit, int64_t first_channel, const T* x, const T* dy, const uint8_t* mask,
                     float mean, float rstd, T* dx, const NormSums& sums, float* dz) {
  const int64_t pixels = unit.pixels;
  float mean_dn = 0, mean_dn_n = 0;  // of dn = dL/dn and of dn * n over the group
  for (int64_t c = 0; c < unit.group_channels; ++c) {
    const int64_t channel = first_channel + c;
    const T* row = x + c * pixels;
    const T* up = dy + c * pixels;
    float* slopes = dz + c * pixels;
    const Line line = line_of(unit, channel, mean, rstd);
    const float centre = mean - or_zero(unit.offset, channel);
    float sum = 0, sum_n = 0;
    if (mask == nullptr) {  // NOLINT(bugprone-branch-clone): it does not look into loops with a pragma
#pragma omp simd reduction(+ : sum, sum_n)
      for (int64_t i = 0; i < pixels; ++i) {
        const float value = load(row + i);
        const float d = load(up + i) * silu_slope(value * line.slope + line.intercept);
        slopes[i] = d;
        sum += d;
        sum_n += d * (value - centre);
      }
    } else {
#pragma omp simd reduction(+ : sum, sum_n)
      for (int64_t i = 0; i < pixels; ++i) {
        const float value = load(row + i);
        const float d = load(up + i) * keep(mask + c * pixels, i, unit.keep_scale) *
                        silu_slope(value * line.slope + line.intercept);
        slopes[i] = d;
        sum += d;
        sum_n += d * (value - centre);
      }
    }
    sum_n *= rstd;
    sums.dz[channel] = sum;
    sums.dz_n[channel] = sum_n;
    const float gain = unit.weight[channel] * (1 + or_zero(unit.scale, channel));
    mean_dn += gain * sum;
    mean_dn_n += gain * sum_n;
  }
  const float count = static_cast<float>(unit.group_channels * pixels);
  mean_dn /= count;
  mean_dn_n /= count;
  for (int64_t c = 0; c < unit.group_channels; ++c) {
    const int64_t channel = first_channel + c;
    const T* row = x + c * pixels;
    T* out = dx + c * pixels;
    const float* slopes = dz + c * pixels;
    const float gain = rstd * unit.weight[channel] * (1 + or_zero(unit.scale, channel));
    const float centre = mean - or_zero(unit.offset, channel);
    const float along = rstd * rstd * mean_dn_n;
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < pixels; ++i) {
      const float d = gain * slopes[i] - rstd * mean_dn - (load(row + i) - centre) * along;
      store(out + i, d);
      sum += d;
    }
    sums.dx[channel] = sum;
  }
}

// channels_last: all channels of the unit at once, pixel by pixel.

// One number a channel of the unit.
struct ChannelRow {
  alignas(64) float values[kMaxInterleavedChannels];
  float& operator[](int64_t c) { return values[c]; }
};

// Means over each group of per-channel sums, spread to its channels.
void spread_group_means(const NormUnit& unit, const ChannelRow& sums, float* group_means) {
  const float count = static_cast<float>(unit.group_channels * unit.pixels);
  for (int64_t g = 0; g < unit.groups; ++g) {
    float total = 0;
    for (int64_t c = 0; c < unit.group_channels; ++c) total += sums.values[g * unit.group_channels + c];
    group_means[g] = total / count;
  }
}

template <class T>
void interleaved_forward(const NormUnit& unit, const T* x, T* y, float* mean, float* rstd) {
  const int64_t channels = unit.groups * unit.group_channels;
  ChannelRow sum{}, centre{}, squares{}, slope{}, intercept{};
  for (int64_t i = 0; i < unit.pixels; ++i) {
    const T* row = x + i * unit.pixel_stride;
    for (int64_t c = 0; c < channels; ++c) sum.values[c] += load(row + c);
  }
  for (int64_t c = 0; c < channels; ++c) sum[c] += static_cast<float>(unit.pixels) * or_zero(unit.offset, c);
  spread_group_means(unit, sum, mean);
  for (int64_t c = 0; c < channels; ++c) centre[c] = mean[c / unit.group_channels] - or_zero(unit.offset, c);
  for (int64_t i = 0; i < unit.pixels; ++i) {
    const T* row = x + i * unit.pixel_stride;
    for (int64_t c = 0; c < channels; ++c) {
      const float d = load(row + c) - centre.values[c];
      squares.values[c] += d * d;
    }
  }
  spread_group_means(unit, squares, rstd);
  for (int64_t g = 0; g < unit.groups; ++g) rstd[g] = reciprocal_root(rstd[g] + unit.epsilon);
  for (int64_t c = 0; c < channels; ++c) {
    const Line line = line_of(unit, c, mean[c / unit.group_channels], rstd[c / unit.group_channels]);
    slope[c] = line.slope;
    intercept[c] = line.intercept;
  }
  for (int64_t i = 0; i < unit.pixels; ++i) {
    const T* row = x + i * unit.pixel_stride;
    T* out = y + i * unit.pixel_stride;
    if (unit.mask == nullptr) {
#pragma omp simd
      for (int64_t c = 0; c < channels; ++c) {
        const float z = load(row + c) * slope.values[c] + intercept.values[c];
        store(out + c, z * sigmoid(z));
      }
    } else {
      const uint8_t* mask = unit.mask + i * unit.pixel_stride;
#pragma omp simd
      for (int64_t c = 0; c < channels; ++c) {
        const float z = load(row + c) * slope.values[c] + intercept.values[c];
        store(out + c, z * sigmoid(z) * keep(mask, c, unit.keep_scale));
      }
    }
  }
}

template <class T>
void interleaved_backward(const NormUnit& unit, const T* x, const T* dy, const float* mean, const float* rstd, T* dx,
                          const NormSums& sums, float* dz) {
  const int64_t channels = unit.groups * unit.group_channels;
  ChannelRow slope{}, intercept{}, centre{}, sum{}, sum_n{};
  for (int64_t c = 0; c < channels; ++c) {
    const int64_t g = c / unit.group_channels;
    const Line line = line_of(unit, c, mean[g], rstd[g]);
    slope[c] = line.slope;
    intercept[c] = line.intercept;
    centre[c] = mean[g] - or_zero(unit.offset, c);
  }
  for (int64_t i = 0; i < unit.pixels; ++i) {
    const T* row = x + i * unit.pixel_stride;
    const T* up = dy + i * unit.pixel_stride;
    const uint8_t* mask = unit.mask == nullptr ? nullptr : unit.mask + i * unit.pixel_stride;
    float* slopes = dz + i * channels;
#pragma omp simd
    for (int64_t c = 0; c < channels; ++c) {
      slopes[c] = load(up + c) * silu_slope(load(row + c) * slope.values[c] + intercept.values[c]);
    }
    if (mask != nullptr) {
#pragma omp simd
      for (int64_t c = 0; c < channels; ++c) slopes[c] *= keep(mask, c, unit.keep_scale);
    }
#pragma omp simd
    for (int64_t c = 0; c < channels; ++c) {
      sum.values[c] += slopes[c];
      sum_n.values[c] += slopes[c] * (load(row + c) - centre.values[c]);
    }
  }
  ChannelRow gain{}, constant{}, along{}, sum_dx{};
  for (int64_t c = 0; c < channels; ++c) {
    sum_n[c] *= rstd[c / unit.group_channels];
    sums.dz[c] = sum[c];
    sums.dz_n[c] = sum_n[c];
    gain[c] = unit.weight[c] * (1 + or_zero(unit.scale, c));
    sum[c] *= gain[c];
    sum_n[c] *= gain[c];
  }
  const float count = static_cast<float>(unit.group_channels * unit.pixels);
  for (int64_t g = 0; g < unit.groups; ++g) {
    const int64_t first = g * unit.group_channels;
    float mean_dn = 0, mean_dn_n = 0;
    for (int64_t c = first; c < first + unit.group_channels; ++c) {
      mean_dn += sum[c];
      mean_dn_n += sum_n[c];
    }
    for (int64_t c = first; c < first + unit.group_channels; ++c) {
      gain[c] *= rstd[g];
      constant[c] = rstd[g] * mean_dn / count;
      along[c] = rstd[g] * rstd[g] * mean_dn_n / count;
    }
  }
  for (int64_t i = 0; i < unit.pixels; ++i) {
    const T* row = x + i * unit.pixel_stride;
    T* out = dx + i * unit.pixel_stride;
    const float* slopes = dz + i * channels;
#pragma omp simd
    for (int64_t c = 0; c < channels; ++c) {
      const float d =
          gain.values[c] * slopes[c] - constant.values[c] - (load(row + c) - centre.values[c]) * along.values[c];
      store(out + c, d);
      sum_dx.values[c] += d;
    }
  }
  for (int64_t c = 0; c < channels; ++c) sums.dx[c] = sum_dx[c];
}

>>>>>>> d0995615864aad969ff370998673dafcde8b21f3
template <class T>
void norm_silu_forward(const NormUnit& unit, const T* x, T* y, float* mean, float* rstd) {
  if (!unit.planar) return interleaved_forward(unit, x, y, mean, rstd);
  const int64_t size = unit.group_channels * unit.pixels;
  for (int64_t g = 0; g < unit.groups; ++g) {
    planar_forward(unit, g * unit.group_channels, x + g * size, unit.mask == nullptr ? nullptr : unit.mask + g * size,
                   y + g * size, mean + g, rstd + g);
  }
}

template <class T>
void norm_silu_backward(const NormUnit& unit, const T* x, const T* dy, const float* mean, const float* rstd, T* dx,
                        const NormSums& sums, float* scratch) {
  if (!unit.planar) return interleaved_backward(unit, x, dy, mean, rstd, dx, sums, scratch);
  const int64_t size = unit.group_channels * unit.pixels;
  for (int64_t g = 0; g < unit.groups; ++g) {
    planar_backward(unit, g * unit.group_channels, x + g * size, dy + g * size,
                    unit.mask == nullptr ? nullptr : unit.mask + g * size, mean[g], rstd[g], dx + g * size, sums,
                    scratch);
  }
}

constexpr Kernels kernels_of(const char* instruction_set) {
  return {instruction_set,
          fill_mask,
          multiply<float, float>,
          multiply<Bf16, float>,
          multiply<double, double>,
          {norm_silu_forward<float>, norm_silu_backward<float>},
          {norm_silu_forward<Bf16>, norm_silu_backward<Bf16>}};
}

}  // namespace
}  // namespace cfm::models
