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
