#pragma once
// Dropout whose mask is a function of (seed, draw of the sample, layer, element), not of rank, micro-batch or call
// order.

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace cfm::models {

// What keys a forward pass: sample b of the batch has draw first_draw + b.
struct DropoutKey {
  uint64_t seed = 0;
  uint64_t first_draw = 0;
};

// Which elements of a layer's [B,...] input dropout keeps on the CPU: bytes of 0 and 1, made wherever they are needed.
class KeptElements {
 public:
  // p is rounded to a multiple of 2^-16. sample_size: elements of one sample, at most 2^23; layer < 4096.
  KeptElements(double p, const DropoutKey& key, uint32_t layer, int64_t sample_size);
  double keep_scale() const;  // 1 / (1 - p)
  // Elements [first, first + count) of a sample, in NCHW order.
  void fill(int64_t sample, int64_t first, int64_t count, uint8_t* mask) const;
  // Channels [first_channel, first_channel + channels) of a channels_last sample: mask[pixel * pixel_stride + channel].
  void fill_interleaved(int64_t sample, int64_t first_channel, int64_t channels, int64_t pixels, int64_t pixel_stride,
                        uint8_t* mask) const;

 private:
  DropoutKey key_;
  uint16_t threshold_;
  uint32_t first_block_;
};

// h: [B,...]; zeroes elements with probability p (rounded to a multiple of 2^-16) and scales the rest by 1/(1-p).
// On CPU the mask is Philox's: 16 bits an element from the stream (seed, kDropout, first_draw + b), blocks from
// layer * 2^20 on (elements in NCHW order, whatever the memory format), made inside the multiplication and kept as one
// byte an element for backward. On CUDA it is ATen's, its generator seeded per (seed, first_draw, layer).
// Differentiable in h.
at::Tensor keyed_dropout(const at::Tensor& h, double p, const DropoutKey& key, uint32_t layer);

}  // namespace cfm::models
