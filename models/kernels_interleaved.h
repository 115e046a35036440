#pragma once
// Of models/kernels_body.h: norm and SiLU where a pixel's channels are contiguous (channels_last), all channels of the
// unit at once, pixel by pixel.

#include "models/kernels_element.h"

namespace cfm::models {
namespace {

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

}  // namespace
}  // namespace cfm::models
