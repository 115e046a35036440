#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace cfm::models {

// Bytes resized as TensorFlow 1's ResizeBilinear does it (align_corners = false, no half-pixel centres): output pixel i
// lies at source position i * in/out, computed in float32, between the pixels below and above it (the last one repeats
// beyond the edge); columns first, then rows. Grey levels stay grey levels: 0..255, float32.
// images: uint8 [B,C,H,W]; returns [B,C,size,size], channels_last if `channels_last`.
at::Tensor tf1_bilinear(const at::Tensor& images, int64_t size, bool channels_last = false);

}  // namespace cfm::models
