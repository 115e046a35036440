#include "models/inception.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/avg_pool2d.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/max_pool2d.h>
#include <ATen/ops/rsqrt.h>

#include <map>
#include <optional>
#include <string_view>

#include "base/error.h"
#include "base/shape.h"
#include "models/inception_layers.h"
#include "models/named_tensors.h"
#include "models/tf1_resize.h"

namespace cfm::models {
namespace {

constexpr double kEpsilon = 1e-3;  // of the batch norms
constexpr int64_t kSpatialChannels = 7;

// A convolution with its batch norm folded in.
struct Convolution {
  at::Tensor weight, bias;
  std::vector<int64_t> stride, padding;
};

// The operator that torch.compile makes of convolution and ReLU on CPUs: one pass over the output instead of two.
using FusedConvolution = at::Tensor(const at::Tensor& x, const at::Tensor& weight,
                                    const std::optional<at::Tensor>& bias, at::IntArrayRef padding,
                                    at::IntArrayRef stride, at::IntArrayRef dilation, int64_t groups,
                                    std::string_view attribute, c10::List<std::optional<at::Scalar>> scalars,
                                    std::optional<std::string_view> algorithm);

at::Tensor relu_of_convolution(const Convolution& layer, const at::Tensor& x) {
  static const auto fused = c10::Dispatcher::singleton().findSchema({"mkldnn::_convolution_pointwise", ""});
  if (!fused || !x.is_cpu()) return at::conv2d(x, layer.weight, layer.bias, layer.stride, layer.padding).relu_();
  return fused->typed<FusedConvolution>().call(x, layer.weight, layer.bias, layer.padding, layer.stride, {1, 1}, 1,
                                               "relu", c10::List<std::optional<at::Scalar>>(), std::nullopt);
}

Convolution folded(const InceptionLayer& layer, const std::map<std::string, at::Tensor>& tensors) {
  const auto wide = [&](const char* part) { return tensors.at(layer.name + part).to(at::kDouble); };
  const at::Tensor scale = wide(".bn.weight") * at::rsqrt(wide(".bn.running_var") + kEpsilon);
  const at::Tensor weight = wide(".conv.weight") * scale.view({-1, 1, 1, 1});
  const at::Tensor bias = wide(".bn.bias") - wide(".bn.running_mean") * scale;
  check(weight.isfinite().all().item<bool>() && bias.isfinite().all().item<bool>(),
        "layer " + layer.name + " has a negative variance, or numbers that are too large");
  return {weight.to(at::kFloat).contiguous(at::MemoryFormat::ChannelsLast),
          bias.to(at::kFloat),
          {layer.stride, layer.stride},
          layer.padding()};
}

// Of 3x3 pixels, those of the padding left out.
at::Tensor average_of_neighbours(const at::Tensor& x) {
  return at::avg_pool2d(x, {3, 3}, {1, 1}, {1, 1}, /*ceil_mode=*/false, /*count_include_pad=*/false);
}

at::Tensor halved(const at::Tensor& x) { return at::max_pool2d(x, {3, 3}, {2, 2}); }

}  // namespace

struct Inception::Layers {
  std::map<std::string, Convolution> convolutions;
  at::Tensor classes;  // [1008,2048]
  c10::Device device = c10::kCPU;

  // Through the named layers of a block, one after the other.
  at::Tensor chain(const std::string& block, std::initializer_list<const char*> branch, at::Tensor x) const {
    for (const char* layer : branch) x = relu_of_convolution(convolutions.at(block + "." + layer), x);
    return x;
  }
  at::Tensor stem(const std::string& layer, const at::Tensor& x) const {
    return relu_of_convolution(convolutions.at(layer), x);
  }
  at::Tensor pooled(const std::string& block, const at::Tensor& x) const {
    return chain(block, {"branch_pool"}, average_of_neighbours(x));
  }

  at::Tensor block_35(const std::string& name, const at::Tensor& x) const {
    return at::cat({chain(name, {"branch1x1"}, x), chain(name, {"branch5x5_1", "branch5x5_2"}, x),
                    chain(name, {"branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"}, x), pooled(name, x)},
                   1);
  }
  at::Tensor block_35_to_17(const std::string& name, const at::Tensor& x) const {
    return at::cat({chain(name, {"branch3x3"}, x),
                    chain(name, {"branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"}, x), halved(x)},
                   1);
  }
  at::Tensor block_17(const std::string& name, const at::Tensor& x) const {
    return at::cat(
        {chain(name, {"branch1x1"}, x), chain(name, {"branch7x7_1", "branch7x7_2", "branch7x7_3"}, x),
         chain(name, {"branch7x7dbl_1", "branch7x7dbl_2", "branch7x7dbl_3", "branch7x7dbl_4", "branch7x7dbl_5"}, x),
         pooled(name, x)},
        1);
  }
  at::Tensor block_17_to_8(const std::string& name, const at::Tensor& x) const {
    return at::cat({chain(name, {"branch3x3_1", "branch3x3_2"}, x),
                    chain(name, {"branch7x7x3_1", "branch7x7x3_2", "branch7x7x3_3", "branch7x7x3_4"}, x), halved(x)},
                   1);
  }
  at::Tensor block_8(const std::string& name, const at::Tensor& x, bool pools_by_maximum) const {
    const at::Tensor narrow = chain(name, {"branch3x3_1"}, x);
    const at::Tensor wide = chain(name, {"branch3x3dbl_1", "branch3x3dbl_2"}, x);
    const at::Tensor pool =
        pools_by_maximum ? chain(name, {"branch_pool"}, at::max_pool2d(x, {3, 3}, {1, 1}, {1, 1})) : pooled(name, x);
    return at::cat(
        {chain(name, {"branch1x1"}, x), chain(name, {"branch3x3_2a"}, narrow), chain(name, {"branch3x3_2b"}, narrow),
         chain(name, {"branch3x3dbl_3a"}, wide), chain(name, {"branch3x3dbl_3b"}, wide), pool},
        1);
  }
};

Inception::Inception(const std::vector<std::pair<std::string, at::Tensor>>& tensors)
    : layers_(std::make_unique<Layers>()) {
  const std::map<std::string, at::Tensor> known = tensors_as_expected(tensors, inception_shapes());
  for (const InceptionLayer& layer : inception_layers()) layers_->convolutions[layer.name] = folded(layer, known);
  layers_->classes = known.at("fc.weight").to(at::kFloat);
}

Inception::~Inception() = default;

void Inception::to(c10::Device device) {
  for (auto& [name, layer] : layers_->convolutions) {
    layer.weight = layer.weight.to(device);
    layer.bias = layer.bias.to(device);
  }
  layers_->classes = layers_->classes.to(device);
}

InceptionFeatures Inception::forward(const at::Tensor& images, const Visit& visit) const {
  check_shape(images, {-1, -1, -1, -1}, "images");
  const int64_t channels = images.size(1);
  check(channels == 1 || channels == 3,
        "images of " + std::to_string(channels) + " channels: Inception's features are of 1 (grey) or 3 (RGB)");
  const at::NoGradGuard no_gradients;
  const at::Tensor x = tf1_bilinear(images, kInceptionSize, /*channels_last=*/true).sub_(128).mul_(1.0 / 128);
  return forward_resized(channels == 1 ? x.expand({-1, 3, -1, -1}) : x, visit);
}

InceptionFeatures Inception::forward_resized(at::Tensor x, const Visit& visit) const {
  check_shape(x, {-1, 3, kInceptionSize, kInceptionSize}, "images");
  const at::NoGradGuard no_gradients;
  const Layers& net = *layers_;
  const auto seen = [&visit](const char* block, const at::Tensor& h) {
    if (visit) visit(block, h);
    return h;
  };
  x = x.contiguous(at::MemoryFormat::ChannelsLast);                 // [B,3,299,299]
  x = seen("Conv2d_1a_3x3", net.stem("Conv2d_1a_3x3", x));          // [B,32,149,149]
  x = seen("Conv2d_2a_3x3", net.stem("Conv2d_2a_3x3", x));          // [B,32,147,147]
  x = halved(seen("Conv2d_2b_3x3", net.stem("Conv2d_2b_3x3", x)));  // [B,64,73,73]
  x = seen("Conv2d_3b_1x1", net.stem("Conv2d_3b_1x1", x));          // [B,80,73,73]
  x = halved(seen("Conv2d_4a_3x3", net.stem("Conv2d_4a_3x3", x)));  // [B,192,35,35]
  for (const char* name : {"Mixed_5b", "Mixed_5c", "Mixed_5d"}) x = seen(name, net.block_35(name, x));
  x = seen("Mixed_6a", net.block_35_to_17("Mixed_6a", x));  // [B,768,17,17]
  InceptionFeatures features;
  for (const char* name : {"Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"}) {
    x = seen(name, net.block_17(name, x));
    if (name == std::string("Mixed_6d"))  // its branch1x1 comes first
      features.spatial = x.narrow(1, 0, kSpatialChannels).permute({0, 2, 3, 1}).flatten(1).clone();
  }
  x = seen("Mixed_7a", net.block_17_to_8("Mixed_7a", x));  // [B,1280,8,8]
  x = seen("Mixed_7b", net.block_8("Mixed_7b", x, /*pools_by_maximum=*/false));
  x = seen("Mixed_7c", net.block_8("Mixed_7c", x, /*pools_by_maximum=*/true));  // [B,2048,8,8]
  features.pool = x.mean({2, 3}).contiguous();
  features.logits = at::linear(features.pool, net.classes);
  return features;
}

}  // namespace cfm::models
