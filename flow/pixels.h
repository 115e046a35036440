#pragma once
// The one map between bytes and model space (docs/equations.md): y = (x + u)/128 - 1, u ~ U[0,1)^d; back by
// floor(128 (y + 1)) clamped to 0..255.

#include <ATen/core/Tensor.h>

namespace cfm::flow {

// bytes: uint8 [B,C,H,W]; u: float32 or float64 [B,C,H,W] on [0,1). Returns u's dtype on [-1,1). u counts to 2^-16
// (float32) or 2^-44 (float64), so that y is exact and to_bytes gives the byte back for every u, however near 1.
at::Tensor to_model_space(const at::Tensor& bytes, const at::Tensor& u);

// y: float [B,C,H,W]. Returns uint8.
at::Tensor to_bytes(const at::Tensor& y);

}  // namespace cfm::flow
