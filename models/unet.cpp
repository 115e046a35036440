#include "models/unet.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cos.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/item.h>
#include <ATen/ops/max.h>
#include <ATen/ops/min.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/sin.h>

#include <algorithm>
#include <cmath>

#include "base/shape.h"
#include "models/blocks.h"
#include "models/norm_silu.h"

namespace cfm::models {
namespace {

using Group = torch::nn::Module;
// One entry of "input_blocks", "middle_block" or "output_blocks": its children run one after the other.
using Entry = std::vector<std::shared_ptr<Block>>;

// Sinusoidal embedding of s = time_scale * t: cat[cos, sin](s 10000^(-i/half)), i < half = dim/2. t: [B]; returns
// [B,dim].
at::Tensor time_embedding(const at::Tensor& s, int64_t dim) {
  const int64_t half = dim / 2;
  const at::Tensor frequencies =
      at::exp(at::arange(half, s.options()) * (-std::log(10000.0) / static_cast<double>(half)));
  const at::Tensor angles = s.unsqueeze(1) * frequencies.unsqueeze(0);
  return at::cat({at::cos(angles), at::sin(angles)}, 1);
}

void check_labels(const at::Tensor& labels, int64_t batch, int64_t rows) {
  check_shape(labels, {batch}, "labels");
  if (!labels.is_cpu()) return;  // asking a device would wait for it; its own kernel stops on a row that is not there
  const auto least = labels.min().item<int64_t>(), most = labels.max().item<int64_t>();
  check(least >= 0 && most < rows, "labels: from " + std::to_string(least) + " to " + std::to_string(most) +
                                       "; the label embedding has rows 0 to " + std::to_string(rows - 1));
}

at::Tensor through(const Entry& entry, at::Tensor h, const Conditioning& conditioning) {
  for (const auto& block : entry) h = block->forward(h, conditioning);
  return h;
}

// Makes the blocks, in the order in which guided-diffusion registers them.
class Builder {
 public:
  Builder(const UNetConfig& config, at::Device device) : config_(config), device_(device) {}

  std::shared_ptr<Block> residual(int64_t channels, int64_t out_channels, Resample resample = Resample::kNone) {
    return residual_block({.channels = channels,
                           .out_channels = out_channels,
                           .embedding_channels = 4 * config_.model_channels,
                           .scale_shift = config_.use_scale_shift_norm,
                           .resample = resample,
                           .dropout = config_.dropout,
                           .layer = next_layer_++,
                           .zero_init = config_.zero_init,
                           .checkpointing = config_.activation_checkpointing},
                          device_);
  }

  std::shared_ptr<Block> attention(int64_t channels, int64_t heads) const {
    return attention_block({.channels = channels,
                            .heads = config_.num_head_channels == -1 ? heads : channels / config_.num_head_channels,
                            .new_order = config_.use_new_attention_order,
                            .zero_init = config_.zero_init,
                            .checkpointing = config_.activation_checkpointing},
                           device_);
  }

  std::shared_ptr<Block> resampling(int64_t channels, Resample resample) {
    return config_.resblock_updown ? residual(channels, channels, resample)
                                   : resampling_block(resample, channels, config_.conv_resample, device_);
  }

  bool attends(int64_t resolution) const {
    return std::ranges::find(config_.attention_resolutions, resolution) != config_.attention_resolutions.end();
  }

 private:
  const UNetConfig& config_;
  at::Device device_;
  uint32_t next_layer_ = 0;
};

void register_entry(Group& parent, size_t index, const Entry& entry) {
  const auto group = parent.register_module(std::to_string(index), std::make_shared<Group>());
  for (size_t i = 0; i < entry.size(); ++i) group->register_module(std::to_string(i), entry[i]);
}

}  // namespace

struct UNet::Layers {
  std::shared_ptr<Weights> time_0, time_2, labels, first, out_norm, out;
  std::vector<Entry> inputs, outputs;  // inputs[0] is empty: `first` stands there
  Entry middle;

  Layers(const UNetConfig& config, at::Device device) {
    const int64_t width = 4 * config.model_channels;
    const auto weights = [device](std::vector<int64_t> shape, Start start) {
      return std::make_shared<Weights>(std::move(shape), start, device);
    };
    time_0 = weights({width, config.model_channels}, Start::kUniform);
    time_2 = weights({width, width}, Start::kUniform);
    if (config.num_classes > 0)
      labels = weights({config.num_classes + (config.null_class ? 1 : 0), width}, Start::kNormal);
    const int64_t channels = config.model_channels * config.channel_mult.front();
    first = weights({channels, config.in_channels, 3, 3}, Start::kUniform);
    build_blocks(config, device);
    out_norm = weights({channels}, Start::kUnit);
    out = weights({config.out_channels, channels, 3, 3}, config.zero_init ? Start::kZero : Start::kUniform);
  }

  void build_blocks(const UNetConfig& config, at::Device device) {
    Builder build(config, device);
    const int64_t heads_up = config.num_heads_upsample == -1 ? config.num_heads : config.num_heads_upsample;
    const size_t levels = config.channel_mult.size();
    int64_t channels = config.model_channels * config.channel_mult.front();
    int64_t resolution = config.image_size;
    std::vector<int64_t> skips{channels};
    inputs.emplace_back();
    const auto add_input = [&](Entry entry) {
      inputs.push_back(std::move(entry));
      skips.push_back(channels);
    };
    for (size_t level = 0; level < levels; ++level) {
      for (int64_t i = 0; i < config.num_res_blocks; ++i) {
        Entry entry;
        entry.push_back(build.residual(channels, config.model_channels * config.channel_mult[level]));
        channels = config.model_channels * config.channel_mult[level];
        if (build.attends(resolution)) entry.push_back(build.attention(channels, config.num_heads));
        add_input(std::move(entry));
      }
      if (level + 1 < levels) {
        add_input(Entry(1, build.resampling(channels, Resample::kDown)));
        resolution /= 2;
      }
    }
    middle.push_back(build.residual(channels, channels));
    middle.push_back(build.attention(channels, config.num_heads));
    middle.push_back(build.residual(channels, channels));
    for (size_t level = levels; level-- > 0;) {
      for (int64_t i = 0; i <= config.num_res_blocks; ++i) {
        Entry entry;
        entry.push_back(build.residual(channels + skips.back(), config.model_channels * config.channel_mult[level]));
        skips.pop_back();
        channels = config.model_channels * config.channel_mult[level];
        if (build.attends(resolution)) entry.push_back(build.attention(channels, heads_up));
        if (level > 0 && i == config.num_res_blocks) {
          entry.push_back(build.resampling(channels, Resample::kUp));
          resolution *= 2;
        }
        outputs.push_back(std::move(entry));
      }
    }
  }

  void register_in(Group& net) const {
    const auto time = net.register_module("time_embed", std::make_shared<Group>());
    time->register_module("0", time_0);
    time->register_module("2", time_2);
    if (labels) net.register_module("label_emb", labels);
    const auto input_blocks = net.register_module("input_blocks", std::make_shared<Group>());
    input_blocks->register_module("0", std::make_shared<Group>())->register_module("0", first);
    for (size_t i = 1; i < inputs.size(); ++i) register_entry(*input_blocks, i, inputs[i]);
    const auto middle_block = net.register_module("middle_block", std::make_shared<Group>());
    for (size_t i = 0; i < middle.size(); ++i) middle_block->register_module(std::to_string(i), middle[i]);
    const auto output_blocks = net.register_module("output_blocks", std::make_shared<Group>());
    for (size_t i = 0; i < outputs.size(); ++i) register_entry(*output_blocks, i, outputs[i]);
    const auto last = net.register_module("out", std::make_shared<Group>());
    last->register_module("0", out_norm);
    last->register_module("2", out);
  }
};

UNet::UNet(const UNetConfig& config, at::Device device) : config_(config) {
  check_no_problems(config_.validate());
  layers_ = std::make_unique<Layers>(config_, device);
  layers_->register_in(*this);
}

UNet::UNet(const UNetConfig& config, uint64_t seed) : UNet(config, at::Device(at::kCPU)) {
  std::vector<std::pair<Weights*, uint64_t>> layers;
  uint64_t index = 0;
  for (const auto& module : modules(/*include_self=*/false)) {
    if (auto* const weights = dynamic_cast<Weights*>(module.get())) {
      layers.emplace_back(weights, index);
      index += weights->bias.defined() ? 2 : 1;
    }
  }
  at::parallel_for(0, static_cast<int64_t>(layers.size()), 1, [&](int64_t begin, int64_t end) {
    const at::NoGradGuard no_grad;
    for (int64_t i = begin; i < end; ++i)
      layers[static_cast<size_t>(i)].first->draw(seed, layers[static_cast<size_t>(i)].second);
  });
}

UNet::~UNet() = default;

at::Tensor UNet::forward(const at::Tensor& x, const at::Tensor& t, const at::Tensor& labels,
                         const DropoutKey* dropout) {
  check_shape(x, {-1, config_.in_channels, config_.image_size, config_.image_size}, "x");
  check_shape(t, {x.size(0)}, "t");
  check(labels.defined() == (config_.num_classes > 0),
        labels.defined() ? "labels: the network has no classes (num_classes = 0), but labels were given"
                         : "labels: the network has " + std::to_string(config_.num_classes) +
                               " classes and was given none; a sample without one has the null label");
  const Layers& layers = *layers_;
  const at::ScalarType type = layers.time_0->weight.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  at::Tensor embedding = time_embedding(t.to(type) * config_.time_scale, config_.model_channels);  // [B,C]
  embedding = linear(*layers.time_2, at::silu(linear(*layers.time_0, embedding)));                 // [B,4C]
  if (labels.defined()) {
    check_labels(labels, x.size(0), layers.labels->weight.size(0));
    embedding = embedding + at::embedding(layers.labels->weight, labels);
  }
  const Conditioning conditioning{at::silu(embedding), dropout};
  std::vector<at::Tensor> skips{convolve(*layers.first, x)};
  for (size_t i = 1; i < layers.inputs.size(); ++i)
    skips.push_back(through(layers.inputs[i], skips.back(), conditioning));
  at::Tensor h = through(layers.middle, skips.back(), conditioning);
  for (const Entry& entry : layers.outputs) {
    h = through(entry, at::cat({h, skips.back()}, 1), conditioning);
    skips.pop_back();
  }
  h = norm_silu(h, layers.out_norm->weight, layers.out_norm->bias);
  return convolve(*layers.out, h).to(x.scalar_type());
}

std::vector<std::pair<std::string, at::Tensor>> named_parameters(const UNet& net) {
  std::vector<std::pair<std::string, at::Tensor>> parameters;
  for (const auto& item : net.named_parameters()) parameters.emplace_back(item.key(), item.value());
  return parameters;
}

int64_t parameter_count(const UNet& net) {
  int64_t count = 0;
  for (const auto& parameter : net.parameters()) count += parameter.numel();
  return count;
}

std::vector<std::pair<std::string, std::vector<int64_t>>> parameter_shapes(const UNetConfig& config) {
  const UNet net(config, at::Device(at::kMeta));
  std::vector<std::pair<std::string, std::vector<int64_t>>> shapes;
  for (const auto& [name, parameter] : named_parameters(net)) shapes.emplace_back(name, parameter.sizes().vec());
  return shapes;
}

std::shared_ptr<UNet> network_on(const UNetConfig& config,
                                 const std::vector<std::pair<std::string, at::Tensor>>& tensors) {
  const std::shared_ptr<UNet> net(new UNet(config, at::Device(at::kCPU)));  // its own memory is never touched
  const auto parameters = named_parameters(*net);
  check(parameters.size() == tensors.size(),
        "network: " + std::to_string(tensors.size()) + " tensors, expected " + std::to_string(parameters.size()));
  for (size_t i = 0; i < tensors.size(); ++i) {
    const auto& [name, given] = tensors[i];
    at::Tensor parameter = parameters[i].second;
    check(name == parameters[i].first,
          "network: tensor " + std::to_string(i) + " is " + name + ", expected " + parameters[i].first);
    check_shape(given, parameter.sizes().vec(), name);
    parameter.set_requires_grad(false);
    parameter.set_data(given.detach());
  }
  return net;
}

}  // namespace cfm::models
