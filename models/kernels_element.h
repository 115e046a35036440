#pragma once
// Of models/kernels_body.h: one element read, written, and put through SiLU.

#include "models/kernels.h"

namespace cfm::models {
namespace {

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

}  // namespace
}  // namespace cfm::models
