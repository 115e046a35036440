#pragma once
// The map between bytes and model space (docs/equations.md): y = (x + u)/128 - 1, u ~ U[0,1)^d; back by
// floor(128 (y + 1)) clamped to 0..255, or as others do.

#include <ATen/core/Tensor.h>

#include <string>

#include "base/error.h"

namespace cfm::flow {

// bytes: uint8 [B,C,H,W]; u: float32 or float64 [B,C,H,W] on [0,1). Returns u's dtype on [-1,1). u counts to 2^-16
// (float32) or 2^-44 (float64), so that y is exact and to_bytes gives the byte back for every u, however near 1.
at::Tensor to_model_space(const at::Tensor& bytes, const at::Tensor& u);

// How model space becomes bytes: (y + before) * scale + after, rounded down and clamped to 0..255.
struct Quantisation {
  const char* name;
  double before, scale, after;
  const char* formula;
};
// The inverse of to_model_space for every u; guided-diffusion's and EDM's, for whom byte x is y = x/127.5 - 1.
inline constexpr Quantisation kQuantisations[]{{"uniform", 1, 128, 0, "floor(128 (y + 1)) clamped to 0..255"},
                                               {"adm", 1, 127.5, 0, "floor(127.5 (y + 1)) clamped to 0..255"},
                                               {"edm", 0, 127.5, 128, "floor(127.5 y + 128) clamped to 0..255"}};
// The one of that name. Error naming --quantise and all names.
const Quantisation& quantisation(const std::string& name);

// y: float [B,C,H,W]. Returns uint8.
at::Tensor to_bytes(const at::Tensor& y, const Quantisation& by = kQuantisations[0]);

}  // namespace cfm::flow
