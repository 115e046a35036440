#include "packer/resize_kernels.h"

#include <algorithm>
#include <cstring>

namespace cfm::packer {
namespace {

constexpr size_t kTile = 16;          // bytes are transposed in squares of this side
constexpr size_t kLanes = 4 * kTile;  // rows filtered at once: the columns of that many rows are whole cache lines

using Bytes = uint8_t __attribute__((vector_size(kTile)));

[[gnu::always_inline]] inline Bytes low_halves(Bytes a, Bytes b) {
  return __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}

[[gnu::always_inline]] inline Bytes high_halves(Bytes a, Bytes b) {
  return __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}

// columns[x * kLanes + y] = rows[y][x] for a square: interleaving row i with row i + 8 four times transposes it.
[[gnu::always_inline]] inline void transpose_tile(const uint8_t* const* rows, size_t x, uint8_t* columns) {
  Bytes a[kTile], b[kTile];
  for (size_t y = 0; y < kTile; ++y) std::memcpy(&a[y], rows[y] + x, kTile);
#pragma GCC unroll 4
  for (int round = 0; round < 4; ++round) {
#pragma GCC unroll 8
    for (size_t i = 0; i < kTile / 2; ++i) {
      b[2 * i] = low_halves(a[i], a[i + kTile / 2]);
      b[2 * i + 1] = high_halves(a[i], a[i + kTile / 2]);
    }
#pragma GCC unroll 16
    for (size_t i = 0; i < kTile; ++i) a[i] = b[i];
  }
  for (size_t y = 0; y < kTile; ++y) std::memcpy(columns + (x + y) * kLanes, &a[y], kTile);
}

[[gnu::always_inline]] inline void transpose_rows(const uint8_t* const* rows, size_t length, uint8_t* columns) {
  size_t x = 0;
  for (; x + kTile <= length; x += kTile)
    for (size_t y = 0; y < kLanes; y += kTile) transpose_tile(rows + y, x, columns + y);
  for (; x < length; ++x)
    for (size_t y = 0; y < kLanes; ++y) columns[x * kLanes + y] = rows[y][x];
}

// One output of kLanes rows: columns [count][kLanes], of which each is weighted.
[[gnu::always_inline]] inline void filter_lanes(const uint8_t* __restrict columns, const int32_t* __restrict weights,
                                                size_t count, uint8_t* __restrict out) {
  int32_t sums[kLanes];
  for (size_t y = 0; y < kLanes; ++y) sums[y] = 1 << (kWeightBits - 1);
  for (size_t k = 0; k < count; ++k)
    for (size_t y = 0; y < kLanes; ++y) sums[y] += columns[k * kLanes + y] * weights[k];
  for (size_t y = 0; y < kLanes; ++y) out[y] = static_cast<uint8_t>(std::clamp(sums[y] >> kWeightBits, 0, 255));
}

[[gnu::always_inline]] inline void filter_loop(const FilterTable& table, const uint8_t* in, size_t rows,
                                               size_t row_stride, uint8_t* out) {
  thread_local std::vector<uint8_t> columns;
  columns.resize(std::max(columns.size(), table.inputs * kLanes));
  for (size_t row = 0; row < rows; row += kLanes) {
    const size_t lanes = std::min(kLanes, rows - row);
    const uint8_t* block[kLanes];  // lanes beyond the last row repeat it
    for (size_t y = 0; y < kLanes; ++y) block[y] = in + (row + std::min(y, lanes - 1)) * row_stride;
    transpose_rows(block, table.inputs, columns.data());
    uint8_t done[kLanes];
    for (size_t o = 0; o < table.outputs(); ++o) {
      filter_lanes(columns.data() + table.first[o] * kLanes, table.weights.data() + o * table.stride, table.count[o],
                   done);
      std::memcpy(out + o * rows + row, done, lanes);
    }
  }
}

void filter_plain(const FilterTable& t, const uint8_t* in, size_t rows, size_t stride, uint8_t* out) {
  filter_loop(t, in, rows, stride, out);
}
#if defined(__x86_64__)
[[gnu::target("arch=x86-64-v3")]] void filter_v3(const FilterTable& t, const uint8_t* in, size_t rows, size_t stride,
                                                 uint8_t* out) {
  filter_loop(t, in, rows, stride, out);
}
[[gnu::target("arch=x86-64-v4")]] void filter_v4(const FilterTable& t, const uint8_t* in, size_t rows, size_t stride,
                                                 uint8_t* out) {
  filter_loop(t, in, rows, stride, out);
}
#endif

}  // namespace

std::vector<NamedFilterPass> filter_passes_here() {
  std::vector<NamedFilterPass> here{{"plain", filter_plain}};
#if defined(__x86_64__)
  const bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
  const bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                  __builtin_cpu_supports("avx512vl");
  if (v3) here.push_back({"x86-64-v3", filter_v3});
  if (v4) here.push_back({"x86-64-v4", filter_v4});
#endif
  return here;
}

}  // namespace cfm::packer
