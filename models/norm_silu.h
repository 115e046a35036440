#pragma once
// What stands before every convolution of a residual block, in one pass over memory on the CPU.

#include <ATen/core/Tensor.h>

#include <optional>

#include "models/dropout.h"

namespace cfm::models {

constexpr int64_t kNormGroups = 32;
constexpr double kNormEpsilon = 1e-5;

struct Dropout {
  double p;
  DropoutKey key;
  uint32_t layer;
};

// dropout(silu(GroupNorm(x + offset) * (1 + scale) + shift)), statistics and all that follows in float32 at least, the
// result in x's type and memory format. x: [B,C,H,W]; weight, bias: [C]; offset: [B,C] or undefined; scale_shift:
// [B,2C], the scale first, or undefined. Differentiable, twice where x is (the second time by ATen's operations).
at::Tensor norm_silu(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                     const at::Tensor& offset = {}, const at::Tensor& scale_shift = {},
                     const std::optional<Dropout>& dropout = std::nullopt);

// The same without dropout by ATen's operations: what runs on CUDA and in float64, and what the fused one is tested
// against.
at::Tensor norm_silu_by_operations(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                                   const at::Tensor& offset = {}, const at::Tensor& scale_shift = {});

// GroupNorm alone, statistics in float32 at least, the result in x's type.
at::Tensor group_norm(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias);

}  // namespace cfm::models
