#include "models/dropout.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/native_dropout.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cmath>
#include <mutex>
#include <tuple>
#include <vector>

#include "base/error.h"
#include "base/number_text.h"
#include "base/philox.h"
#include "models/kernels.h"

namespace cfm::models {
namespace {

constexpr int64_t kChunk = 4096;  // elements whose mask stays in the nearest cache until it is used
constexpr int64_t kBlocksPerLayer = int64_t{1} << 20;

uint64_t splitmix64(uint64_t x) {
  x += 0x9E3779B97F4A7C15;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
  return x ^ (x >> 31);
}

// ATen's dropout, its generator seeded for this call. The state that the generator had is lost: nothing else draws from
// it.
at::Tensor cuda_dropout(const at::Tensor& h, double p, const DropoutKey& key, uint32_t layer) {
  at::Generator generator = at::globalContext().defaultGenerator(h.device());
  {
    const std::lock_guard lock(generator.mutex());
    generator.set_current_seed(splitmix64(splitmix64(splitmix64(key.seed) ^ key.first_draw) ^ layer));
  }
  return std::get<0>(at::native_dropout(h, p, /*train=*/true));
}

void multiply(const at::Tensor& x, const uint8_t* mask, double keep_scale, int64_t first, int64_t count,
              at::Tensor& y) {
  const Kernels& loops = kernels();
  switch (x.scalar_type()) {
    case at::kFloat:
      return loops.multiply_float(x.const_data_ptr<float>() + first, mask, static_cast<float>(keep_scale), count,
                                  y.mutable_data_ptr<float>() + first);
    case at::kBFloat16:
      return loops.multiply_bf16(static_cast<const Bf16*>(x.const_data_ptr()) + first, mask,
                                 static_cast<float>(keep_scale), count,
                                 static_cast<Bf16*>(y.mutable_data_ptr()) + first);
    case at::kDouble:
      return loops.multiply_double(x.const_data_ptr<double>() + first, mask, keep_scale, count,
                                   y.mutable_data_ptr<double>() + first);
    default:
      throw Error(std::string("dropout: no CPU kernel for ") + c10::toString(x.scalar_type()) +
                  "; float64, float32 and bfloat16 have one");
  }
}

bool interleaved(const at::Tensor& h) {
  return h.dim() == 4 && !h.is_contiguous() && h.is_contiguous(at::MemoryFormat::ChannelsLast);
}

class KeyedDropout : public torch::autograd::Function<KeyedDropout> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& h, const KeptElements& kept) {
    at::Tensor mask = at::empty_like(h, h.options().dtype(at::kByte));
    at::Tensor out = at::empty_like(h);
    uint8_t* const mask_data = mask.mutable_data_ptr<uint8_t>();
    const int64_t samples = h.size(0), size = h.numel() / samples;
    const int64_t chunks = interleaved(h) ? 1 : (size + kChunk - 1) / kChunk;
    at::parallel_for(0, samples * chunks, std::max<int64_t>(1, 4 * kChunk / (size / chunks)),
                     [&](int64_t begin, int64_t end) {
                       for (int64_t unit = begin; unit < end; ++unit) {
                         const int64_t sample = unit / chunks, first = (unit % chunks) * kChunk;
                         const int64_t count = chunks == 1 ? size : std::min(kChunk, size - first);
                         uint8_t* const bytes = mask_data + sample * size + first;
                         if (interleaved(h)) {
                           kept.fill_interleaved(sample, 0, h.size(1), h.size(2) * h.size(3), h.size(1), bytes);
                         } else {
                           kept.fill(sample, first, count, bytes);
                         }
                         multiply(h, bytes, kept.keep_scale(), sample * size + first, count, out);
                       }
                     });
    ctx->save_for_backward({mask});
    ctx->saved_data["keep_scale"] = kept.keep_scale();
    return out;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 const torch::autograd::variable_list& grads) {
    const at::Tensor mask = ctx->get_saved_variables()[0];
    const double keep_scale = ctx->saved_data["keep_scale"].toDouble();
    if (at::GradMode::is_enabled()) return {grads[0] * (mask.to(grads[0].scalar_type()) * keep_scale), {}};
    const at::Tensor grad =
        interleaved(mask) ? grads[0].contiguous(at::MemoryFormat::ChannelsLast) : grads[0].contiguous();
    at::Tensor out = at::empty_like(grad);
    at::parallel_for(0, grad.numel(), 4 * kChunk, [&](int64_t begin, int64_t end) {
      multiply(grad, mask.const_data_ptr<uint8_t>() + begin, keep_scale, begin, end - begin, out);
    });
    return {out, {}};
  }
};

}  // namespace

KeptElements::KeptElements(double p, const DropoutKey& key, uint32_t layer, int64_t sample_size)
    : key_(key), threshold_(static_cast<uint16_t>(std::lround(p * 0x1p16))), first_block_(layer * kBlocksPerLayer) {
  check(p >= 0 && p <= 1 - 0x1p-16, "dropout: p = " + number_text(p) + "; it must lie in [0, 1)");
  check(sample_size <= 8 * kBlocksPerLayer && layer < 4096,
        "dropout: layer " + std::to_string(layer) + " has " + std::to_string(sample_size) +
            " elements a sample; the mask's counter holds 4096 layers of 8388608. Make the image or the network "
            "smaller.");
}

double KeptElements::keep_scale() const { return 1 / (1 - threshold_ * 0x1p-16); }

void KeptElements::fill(int64_t sample, int64_t first, int64_t count, uint8_t* mask) const {
  const MaskStream stream{key_.seed, static_cast<uint32_t>(Purpose::kDropout),
                          key_.first_draw + static_cast<uint64_t>(sample), first_block_, threshold_};
  kernels().fill_mask(stream, first, count, mask);
}

void KeptElements::fill_interleaved(int64_t sample, int64_t first_channel, int64_t channels, int64_t pixels,
                                    int64_t pixel_stride, uint8_t* mask) const {
  constexpr int64_t kTile = 32;
  std::vector<uint8_t> rows(static_cast<size_t>(kTile * pixels));
  for (int64_t c0 = 0; c0 < channels; c0 += kTile) {
    const int64_t tile = std::min(kTile, channels - c0);
    fill(sample, (first_channel + c0) * pixels, tile * pixels, rows.data());
    for (int64_t i = 0; i < pixels; ++i) {
      uint8_t* const out = mask + i * pixel_stride + c0;
      for (int64_t c = 0; c < tile; ++c) out[c] = rows[static_cast<size_t>(c * pixels + i)];
    }
  }
}

at::Tensor keyed_dropout(const at::Tensor& h, double p, const DropoutKey& key, uint32_t layer) {
  if (p == 0 || h.numel() == 0) return h;
  if (!h.is_cpu()) return cuda_dropout(h, p, key, layer);
  const KeptElements kept(p, key, layer, h.numel() / h.size(0));
  return KeyedDropout::apply(interleaved(h) ? h : h.contiguous(), kept);
}

}  // namespace cfm::models
