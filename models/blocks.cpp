#include "models/blocks.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/avg_pool2d.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/upsample_nearest2d.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <span>
#include <utility>

#include "base/philox.h"
#include "models/activation_checkpoint.h"
#include "models/norm_silu.h"

namespace cfm::models {
namespace {

std::shared_ptr<Weights> convolution(int64_t in, int64_t out, int64_t size, Start start, at::Device device) {
  return std::make_shared<Weights>(std::vector<int64_t>{out, in, size, size}, start, device);
}

std::shared_ptr<Weights> norm(int64_t channels, at::Device device) {
  return std::make_shared<Weights>(std::vector<int64_t>{channels}, Start::kUnit, device);
}

// A module that only gives its children their names.
using Group = torch::nn::Module;

at::Tensor resampled(const at::Tensor& h, Resample resample) {
  if (resample == Resample::kUp) return at::upsample_nearest2d(h, {2 * h.size(2), 2 * h.size(3)});
  return resample == Resample::kDown ? at::avg_pool2d(h, {2, 2}, {2, 2}) : h;
}

// Runs `segment` at once, or as a checkpoint. The view makes both add up gradients in one order: first what the block
// gives its input, then what the input's other users give.
at::Tensor run(bool checkpointing, const Segment& segment, const std::vector<at::Tensor>& inputs,
               const torch::nn::Module& block) {
  if (checkpointing) return activation_checkpoint(segment, inputs, block.parameters());
  std::vector<at::Tensor> views;
  views.reserve(inputs.size());
  for (const at::Tensor& input : inputs) views.push_back(input.view_as(input));
  return segment(views);
}

class ResidualBlock final : public Block {
 public:
  ResidualBlock(const ResidualConfig& config, at::Device device)
      : config_(config),
        in_norm_(norm(config.channels, device)),
        in_convolution_(convolution(config.channels, config.out_channels, 3, Start::kUniform, device)),
        embedding_(std::make_shared<Weights>(
            std::vector<int64_t>{config.out_channels * (config.scale_shift ? 2 : 1), config.embedding_channels},
            Start::kUniform, device)),
        out_norm_(norm(config.out_channels, device)),
        out_convolution_(convolution(config.out_channels, config.out_channels, 3,
                                     config.zero_init ? Start::kZero : Start::kUniform, device)) {
    const auto in_layers = register_module("in_layers", std::make_shared<Group>());
    in_layers->register_module("0", in_norm_);
    in_layers->register_module("2", in_convolution_);
    register_module("emb_layers", std::make_shared<Group>())->register_module("1", embedding_);
    const auto out_layers = register_module("out_layers", std::make_shared<Group>());
    out_layers->register_module("0", out_norm_);
    out_layers->register_module("3", out_convolution_);
    if (config.channels != config.out_channels) {
      skip_ = register_module("skip_connection",
                              convolution(config.channels, config.out_channels, 1, Start::kUniform, device));
    }
  }

  at::Tensor forward(const at::Tensor& h, const Conditioning& conditioning) override {
    std::optional<Dropout> dropout;
    if (conditioning.dropout != nullptr && config_.dropout > 0) {
      dropout = Dropout{config_.dropout, *conditioning.dropout, config_.layer};
    }
    const auto self = shared_from_this();  // the graph may outlive the caller's hold on the network
    const Segment segment = [this, self, dropout](const std::vector<at::Tensor>& inputs) {
      return transform(inputs[0], inputs[1], dropout);
    };
    return run(config_.checkpointing, segment, {h, conditioning.embedding}, *this);
  }

 private:
  at::Tensor transform(const at::Tensor& x, const at::Tensor& embedding, const std::optional<Dropout>& dropout) const {
    at::Tensor h = norm_silu(x, in_norm_->weight, in_norm_->bias);
    h = convolve(*in_convolution_, resampled(h, config_.resample));
    const at::Tensor e = linear(*embedding_, embedding);
    h = config_.scale_shift ? norm_silu(h, out_norm_->weight, out_norm_->bias, {}, e, dropout)
                            : norm_silu(h, out_norm_->weight, out_norm_->bias, e, {}, dropout);
    h = convolve(*out_convolution_, h);
    const at::Tensor skip = resampled(x, config_.resample);
    return h.add_(skip_ ? convolve(*skip_, skip) : skip);
  }

  ResidualConfig config_;
  std::shared_ptr<Weights> in_norm_, in_convolution_, embedding_, out_norm_, out_convolution_, skip_;
};

class AttentionBlock final : public Block {
 public:
  AttentionBlock(const AttentionConfig& config, at::Device device)
      : config_(config),
        norm_(register_module("norm", norm(config.channels, device))),
        qkv_(register_module("qkv",
                             std::make_shared<Weights>(std::vector<int64_t>{3 * config.channels, config.channels, 1},
                                                       Start::kUniform, device))),
        projection_(register_module(
            "proj_out", std::make_shared<Weights>(std::vector<int64_t>{config.channels, config.channels, 1},
                                                  config.zero_init ? Start::kZero : Start::kUniform, device))) {}

  at::Tensor forward(const at::Tensor& h, const Conditioning&) override {
    const auto self = shared_from_this();
    const Segment segment = [this, self](const std::vector<at::Tensor>& inputs) { return attend(inputs[0]); };
    return run(config_.checkpointing, segment, {h}, *this);
  }

 private:
  // Attention over the T = H * W pixels. The softmax is float32 or better in every implementation that ATen chooses
  // from, and its scale 1/sqrt(ch) on q.k is ch^-1/4 on each of q and k.
  at::Tensor attend(const at::Tensor& h) const {
    const int64_t batch = h.size(0), channels = h.size(1), pixels = h.size(2) * h.size(3);
    const int64_t head_channels = channels / config_.heads;
    const at::Tensor tokens =
        group_norm(h, norm_->weight, norm_->bias).flatten(2).transpose(1, 2).contiguous();  // [B,T,C]
    const at::Tensor rows = at::linear(tokens, qkv_->weight.squeeze(-1), qkv_->bias);       // [B,T,3C]
    const auto part = [&](int64_t i) {                                                      // [B,heads,T,ch]
      const at::Tensor q_k_or_v = config_.new_order
                                      ? rows.view({batch, pixels, 3, config_.heads, head_channels}).select(2, i)
                                      : rows.view({batch, pixels, config_.heads, 3, head_channels}).select(3, i);
      return q_k_or_v.transpose(1, 2);
    };
    const at::Tensor mixed = at::scaled_dot_product_attention(part(0), part(1), part(2)).transpose(1, 2);
    const at::Tensor out =
        at::linear(mixed.reshape({batch, pixels, channels}), projection_->weight.squeeze(-1), projection_->bias);
    return h + out.transpose(1, 2).unflatten(2, {h.size(2), h.size(3)});
  }

  AttentionConfig config_;
  std::shared_ptr<Weights> norm_, qkv_, projection_;
};

class ResamplingBlock final : public Block {
 public:
  ResamplingBlock(Resample resample, int64_t channels, bool with_convolution, at::Device device) : resample_(resample) {
    if (!with_convolution) return;
    layer_ = register_module(resample == Resample::kUp ? "conv" : "op",
                             convolution(channels, channels, 3, Start::kUniform, device));
  }
  at::Tensor forward(const at::Tensor& h, const Conditioning&) override {
    if (!layer_) return resampled(h, resample_);
    return resample_ == Resample::kUp ? convolve(*layer_, resampled(h, resample_)) : convolve(*layer_, h, 2);
  }

 private:
  Resample resample_;
  std::shared_ptr<Weights> layer_;
};

}  // namespace

Weights::Weights(std::vector<int64_t> weight_shape, Start start, at::Device device) : start_(start) {
  const at::TensorOptions options = at::TensorOptions(at::kFloat).device(device);
  weight = register_parameter("weight", at::empty(weight_shape, options));
  if (start != Start::kNormal) bias = register_parameter("bias", at::empty({weight_shape.front()}, options));
}

void Weights::draw(uint64_t seed, uint64_t index) {
  const auto numbers = [](at::Tensor& x) {
    return std::span(x.mutable_data_ptr<float>(), static_cast<size_t>(x.numel()));
  };
  const auto fill = [&numbers](at::Tensor& x, float value) { std::ranges::fill(numbers(x), value); };
  switch (start_) {
    case Start::kZero:
      fill(weight, 0);
      return fill(bias, 0);
    case Start::kUnit:
      fill(weight, 1);
      return fill(bias, 0);
    case Start::kNormal:
      return fill_normal(numbers(weight), {seed, Purpose::kWeights, index});
    case Start::kUniform:
      break;
  }
  const int64_t fan_in = weight.numel() / weight.size(0);
  const float bound = 1 / std::sqrt(static_cast<float>(fan_in));
  for (at::Tensor* const x : {&weight, &bias}) {
    fill_uniform(numbers(*x), {seed, Purpose::kWeights, index + (x == &bias ? 1 : 0)});
    for (float& value : numbers(*x)) value = bound * (2 * value - 1);
  }
}

at::Tensor convolve(const Weights& layer, const at::Tensor& h, int64_t stride) {
  return at::conv2d(h, layer.weight, layer.bias, {stride, stride},
                    {layer.weight.size(2) / 2, layer.weight.size(3) / 2});
}

at::Tensor linear(const Weights& layer, const at::Tensor& x) { return at::linear(x, layer.weight, layer.bias); }

std::shared_ptr<Block> residual_block(const ResidualConfig& config, at::Device device) {
  return std::make_shared<ResidualBlock>(config, device);
}

std::shared_ptr<Block> attention_block(const AttentionConfig& config, at::Device device) {
  return std::make_shared<AttentionBlock>(config, device);
}

std::shared_ptr<Block> resampling_block(Resample resample, int64_t channels, bool with_convolution, at::Device device) {
  return std::make_shared<ResamplingBlock>(resample, channels, with_convolution, device);
}

}  // namespace cfm::models
