#pragma once
// Of models/kernels_body.h: norm and SiLU where a channel's pixels are contiguous (NCHW), one group at a time, channel
// by channel.

#include "models/kernels_element.h"

namespace cfm::models {
namespace {

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

}  // namespace
}  // namespace cfm::models
