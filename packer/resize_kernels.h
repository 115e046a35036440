#pragma once
// One pass of a separable filter over rows of bytes, in integers: the same bytes on every instruction set. Private to
// resize.cpp.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace cfm::packer {

constexpr int kWeightBits = 22;  // 8 bits of a pixel, 2 of overshoot and these make 32

// Output o is the sum of count[o] inputs from first[o] on, times weights[o * stride + 0, 1, ...] / 2^kWeightBits,
// rounded and clipped to 0..255.
struct FilterTable {
  size_t inputs = 0, stride = 0;
  std::vector<size_t> first, count;
  std::vector<int32_t> weights;
  size_t outputs() const { return first.size(); }
};

// `in`: `rows` rows of table.inputs bytes, `row_stride` bytes apart. `out`: [table.outputs()][rows], the transpose, so
// that the second pass runs along rows again.
using FilterPass = void (*)(const FilterTable& table, const uint8_t* in, size_t rows, size_t row_stride, uint8_t* out);

struct NamedFilterPass {
  std::string instruction_set;
  FilterPass pass;
};

// Those that this machine can run, the best last.
std::vector<NamedFilterPass> filter_passes_here();

}  // namespace cfm::packer
