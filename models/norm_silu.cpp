#include "models/norm_silu.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/group_norm.h>
#include <ATen/ops/silu.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <vector>

#include "models/kernels.h"

namespace cfm::models {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int64_t kGrain = 16384;  // elements a thread should have at least

template <class T>
const NormSiluKernels<T>& norm_silu_kernels();
template <>
const NormSiluKernels<float>& norm_silu_kernels<float>() {
  return kernels().norm_silu_float;
}
template <>
const NormSiluKernels<Bf16>& norm_silu_kernels<Bf16>() {
  return kernels().norm_silu_bf16;
}

const float* float_data(const at::Tensor& x, int64_t at) {
  return x.defined() ? x.const_data_ptr<float>() + at : nullptr;
}

// The inputs, contiguous and float32 but for x.
struct Inputs {
  at::Tensor x, weight, bias, offset, scale_shift, mask;
  double keep_scale = 1;

  bool planar() const { return x.is_contiguous(); }
  int64_t channels() const { return x.size(1); }
  int64_t pixels() const { return x.size(2) * x.size(3); }
  int64_t group_channels() const { return channels() / kNormGroups; }
  // Groups of one unit of work: whole cache lines of a pixel's channels.
  int64_t unit_groups() const {
    return planar() ? 1 : std::min(kNormGroups, (63 + group_channels()) / group_channels());
  }
  int64_t units_per_sample() const { return (kNormGroups + unit_groups() - 1) / unit_groups(); }
  // Of the first element of a unit, in x's memory.
  int64_t first_element(int64_t sample, int64_t channel) const {
    return sample * channels() * pixels() + channel * (planar() ? pixels() : 1);
  }

  NormUnit unit(int64_t sample, int64_t first_group) const {
    const int64_t channel = first_group * group_channels();
    return {.groups = std::min(unit_groups(), kNormGroups - first_group),
            .group_channels = group_channels(),
            .pixels = pixels(),
            .planar = planar(),
            .pixel_stride = channels(),
            .epsilon = static_cast<float>(kNormEpsilon),
            .weight = float_data(weight, channel),
            .bias = float_data(bias, channel),
            .offset = float_data(offset, sample * channels() + channel),
            .scale = float_data(scale_shift, sample * 2 * channels() + channel),
            .shift = float_data(scale_shift, sample * 2 * channels() + channels() + channel),
            .mask = mask.defined() ? mask.const_data_ptr<uint8_t>() + first_element(sample, channel) : nullptr,
            .keep_scale = static_cast<float>(keep_scale)};
  }

  // f(sample, first_group) for every unit, by all threads.
  template <class F>
  void for_each_unit(const F& f) const {
    const int64_t units = units_per_sample();
    const int64_t unit_size = unit_groups() * group_channels() * pixels();
    at::parallel_for(0, x.size(0) * units, std::max<int64_t>(1, kGrain / unit_size), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) f(i / units, (i % units) * unit_groups());
    });
  }
};

struct Outputs {
  at::Tensor y, mean, rstd;  // [B,C,H,W], [B,groups], [B,groups]
};

template <class T>
Outputs fused_forward(const Inputs& in, const std::optional<KeptElements>& kept) {
  const at::TensorOptions options = in.x.options().dtype(at::kFloat);
  Outputs out{at::empty_like(in.x), at::empty({in.x.size(0), kNormGroups}, options),
              at::empty({in.x.size(0), kNormGroups}, options)};
  const T* const x = static_cast<const T*>(in.x.const_data_ptr());
  T* const y = static_cast<T*>(out.y.mutable_data_ptr());
  uint8_t* const mask = kept ? in.mask.mutable_data_ptr<uint8_t>() : nullptr;
  float* const mean = out.mean.mutable_data_ptr<float>();
  float* const rstd = out.rstd.mutable_data_ptr<float>();
  in.for_each_unit([&](int64_t sample, int64_t group) {
    const NormUnit unit = in.unit(sample, group);
    const int64_t channel = group * in.group_channels();
    const int64_t at = in.first_element(sample, channel);
    const int64_t channels = unit.groups * unit.group_channels;
    if (kept && unit.planar) kept->fill(sample, channel * unit.pixels, channels * unit.pixels, mask + at);
    if (kept && !unit.planar)
      kept->fill_interleaved(sample, channel, channels, unit.pixels, unit.pixel_stride, mask + at);
    const int64_t statistic = sample * kNormGroups + group;
    norm_silu_kernels<T>().forward(unit, x + at, y + at, mean + statistic, rstd + statistic);
  });
  return out;
}

struct Gradients {
  at::Tensor dx, dz, dz_n, dx_sums;  // [B,C,H,W], then [B,C] each: see NormSums
};

template <class T>
Gradients fused_backward(const Inputs& in, const at::Tensor& dy, const at::Tensor& mean, const at::Tensor& rstd) {
  const std::vector<int64_t> shape{in.x.size(0), in.channels()};
  const at::TensorOptions options = in.x.options().dtype(at::kFloat);
  Gradients out{at::empty_like(in.x), at::empty(shape, options), at::empty(shape, options), at::empty(shape, options)};
  const T* const x = static_cast<const T*>(in.x.const_data_ptr());
  const T* const up = static_cast<const T*>(dy.const_data_ptr());
  T* const dx = static_cast<T*>(out.dx.mutable_data_ptr());
  const NormSums sums{out.dz.mutable_data_ptr<float>(), out.dz_n.mutable_data_ptr<float>(),
                      out.dx_sums.mutable_data_ptr<float>()};
  const size_t scratch_size = static_cast<size_t>(in.unit_groups() * in.group_channels() * in.pixels());
  in.for_each_unit([&](int64_t sample, int64_t group) {
    thread_local std::vector<float> scratch;
    if (scratch.size() < scratch_size) scratch.resize(scratch_size);
    const int64_t channel = group * in.group_channels();
    const int64_t at = in.first_element(sample, channel);
    const int64_t sum_at = sample * in.channels() + channel;
    const int64_t statistic = sample * kNormGroups + group;
    norm_silu_kernels<T>().backward(in.unit(sample, group), x + at, up + at, float_data(mean, statistic),
                                    float_data(rstd, statistic), dx + at,
                                    {sums.dz + sum_at, sums.dz_n + sum_at, sums.dx + sum_at}, scratch.data());
  });
  return out;
}

// Gradients of (x, weight, bias, offset, scale_shift) that can be differentiated again.
variable_list differentiable_gradients(const Inputs& in, const at::Tensor& dy) {
  at::Tensor y = norm_silu_by_operations(in.x, in.weight, in.bias, in.offset, in.scale_shift);
  if (in.mask.defined()) y = y * (in.mask.to(y.scalar_type()) * in.keep_scale);
  variable_list wanted;
  const std::vector<at::Tensor> inputs{in.x, in.weight, in.bias, in.offset, in.scale_shift};
  for (const at::Tensor& input : inputs) {
    if (input.defined() && input.requires_grad()) wanted.push_back(input);
  }
  const variable_list found = torch::autograd::grad({y}, wanted, {dy}, /*retain_graph=*/true, /*create_graph=*/true);
  variable_list gradients;
  size_t next = 0;
  for (const at::Tensor& input : inputs) {
    gradients.push_back(input.defined() && input.requires_grad() ? found[next++] : at::Tensor());
  }
  return gradients;
}

class NormSilu : public torch::autograd::Function<NormSilu> {
 public:
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                            const std::optional<at::Tensor>& offset, const std::optional<at::Tensor>& scale_shift,
                            const std::optional<KeptElements>& kept) {
    Inputs in{x,
              weight,
              bias,
              offset.value_or(at::Tensor()),
              scale_shift.value_or(at::Tensor()),
              {},
              kept ? kept->keep_scale() : 1};
    if (kept) in.mask = at::empty_like(x, x.options().dtype(at::kByte));
    const Outputs out = x.scalar_type() == at::kFloat ? fused_forward<float>(in, kept) : fused_forward<Bf16>(in, kept);
    ctx->save_for_backward({x, weight, bias, in.offset, in.scale_shift, in.mask, out.mean, out.rstd});
    ctx->saved_data["keep_scale"] = in.keep_scale;
    return out.y;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const variable_list saved = ctx->get_saved_variables();
    const Inputs in{
        saved[0], saved[1], saved[2], saved[3], saved[4], saved[5], ctx->saved_data["keep_scale"].toDouble()};
    if (at::GradMode::is_enabled()) {
      variable_list gradients = differentiable_gradients(in, grads[0]);
      gradients.emplace_back();
      return gradients;
    }
    const at::Tensor dy = grads[0]
                              .to(in.x.scalar_type())
                              .contiguous(in.planar() ? at::MemoryFormat::Contiguous : at::MemoryFormat::ChannelsLast);
    const Gradients found = in.x.scalar_type() == at::kFloat ? fused_backward<float>(in, dy, saved[6], saved[7])
                                                             : fused_backward<Bf16>(in, dy, saved[6], saved[7]);
    at::Tensor dz = found.dz, dz_n = found.dz_n, scale_shift_gradient;
    if (in.scale_shift.defined()) {
      const at::Tensor gain = 1 + in.scale_shift.narrow(1, 0, in.channels());
      scale_shift_gradient = at::empty_like(in.scale_shift);
      scale_shift_gradient.narrow(1, 0, in.channels()).copy_(in.weight * dz_n + in.bias * dz);
      scale_shift_gradient.narrow(1, in.channels(), in.channels()).copy_(dz);
      dz = dz * gain;
      dz_n = dz_n * gain;
    }
    return {found.dx, dz_n.sum(0), dz.sum(0), in.offset.defined() ? found.dx_sums : at::Tensor(), scale_shift_gradient,
            {}};
  }
};

bool fusable(const at::Tensor& x, const at::Tensor& weight) {
  return x.is_cpu() && (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16) &&
         weight.scalar_type() == at::kFloat && x.dim() == 4 && !x._fw_grad(0).defined() &&
         x.size(1) / kNormGroups <= kMaxInterleavedChannels / 2;
}

at::ScalarType statistics_type(const at::Tensor& x) {
  return x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

}  // namespace

at::Tensor norm_silu(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, const at::Tensor& offset,
                     const at::Tensor& scale_shift, const std::optional<Dropout>& dropout) {
  if (!fusable(x, weight)) {
    const at::Tensor y = norm_silu_by_operations(x, weight, bias, offset, scale_shift);
    return dropout ? keyed_dropout(y, dropout->p, dropout->key, dropout->layer) : y;
  }
  const auto row = [](const at::Tensor& v) { return v.to(at::kFloat).contiguous(); };
  const auto optional_row = [row](const at::Tensor& v) { return v.defined() ? std::optional(row(v)) : std::nullopt; };
  std::optional<KeptElements> kept;
  if (dropout) kept.emplace(dropout->p, dropout->key, dropout->layer, x.numel() / x.size(0));
  const bool dense = x.is_contiguous() || x.is_contiguous(at::MemoryFormat::ChannelsLast);
  return NormSilu::apply(dense ? x : x.contiguous(), row(weight), row(bias), optional_row(offset),
                         optional_row(scale_shift), kept);
}

at::Tensor norm_silu_by_operations(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                                   const at::Tensor& offset, const at::Tensor& scale_shift) {
  const at::ScalarType type = statistics_type(x);
  const auto per_channel = [type](const at::Tensor& v) { return v.to(type).unsqueeze(-1).unsqueeze(-1); };
  at::Tensor h = x.to(type);
  if (offset.defined()) h = h + per_channel(offset);
  h = at::group_norm(h, kNormGroups, weight.to(type), bias.to(type), kNormEpsilon);
  if (scale_shift.defined()) {
    const std::vector<at::Tensor> parts = scale_shift.chunk(2, 1);
    h = h * (1 + per_channel(parts[0])) + per_channel(parts[1]);
  }
  return at::silu(h).to(x.scalar_type());
}

at::Tensor group_norm(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  const at::ScalarType type = statistics_type(x);
  if (x.is_cpu()) return at::group_norm(x, kNormGroups, weight, bias, kNormEpsilon).to(x.scalar_type());
  return at::group_norm(x.to(type), kNormGroups, weight.to(type), bias.to(type), kNormEpsilon).to(x.scalar_type());
}

}  // namespace cfm::models
