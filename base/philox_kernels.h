#pragma once
// The loops behind philox.h, compiled once per instruction set. All give the same bits: the arithmetic is integer, or
// float32 add, multiply and square root in a fixed order, without fused multiply-add.

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/philox.h"

namespace cfm {

// Each writes 4 * blocks values, from block first_block on.
struct PhiloxKernels {
  std::string_view instruction_set;
  void (*bits)(uint32_t* out, size_t blocks, Stream stream, uint32_t first_block);
  void (*uniform)(float* out, size_t blocks, Stream stream, uint32_t first_block);
  void (*normal)(float* out, size_t blocks, Stream stream, uint32_t first_block);
};

// The ones that this CPU can run, the plainest first, the fastest last: fill_* use the last.
std::vector<PhiloxKernels> philox_kernels_here();

}  // namespace cfm
