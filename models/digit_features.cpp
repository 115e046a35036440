#include "models/digit_features.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/silu.h>

#include "base/error.h"
#include "base/shape.h"
#include "models/named_tensors.h"

namespace cfm::models {

std::vector<std::pair<std::string, std::vector<int64_t>>> digit_shapes() {
  return {{"conv1.weight", {16, 1, 3, 3}},
          {"conv1.bias", {16}},
          {"conv2.weight", {32, 16, 3, 3}},
          {"conv2.bias", {32}},
          {"conv3.weight", {32, 32, 3, 3}},
          {"conv3.bias", {32}},
          {"features.weight", {kDigitFeatures, int64_t{32} * 4 * 4}},
          {"features.bias", {kDigitFeatures}},
          {"logits.weight", {10, kDigitFeatures}},
          {"logits.bias", {10}}};
}

DigitClassifier::DigitClassifier(const std::vector<std::pair<std::string, at::Tensor>>& tensors) {
  const std::map<std::string, at::Tensor> known = tensors_as_expected(tensors, digit_shapes());
  for (const std::string name : {"conv1", "conv2", "conv3", "features", "logits"}) {
    layers_.push_back({known.at(name + ".weight").to(at::kFloat), known.at(name + ".bias").to(at::kFloat)});
  }
}

void DigitClassifier::to(c10::Device device) {
  for (Layer& layer : layers_) layer = {layer.weight.to(device), layer.bias.to(device)};
}

DigitFeatures DigitClassifier::forward(const at::Tensor& images) const {
  check_shape(images, {-1, 1, kDigitSize, kDigitSize}, "images");
  const at::NoGradGuard no_gradients;
  at::Tensor x = images.to(at::kFloat).sub_(128).mul_(1.0 / 128);
  const auto convolved = [&](size_t i, int64_t stride) {
    return at::silu(at::conv2d(x, layers_[i].weight, layers_[i].bias, {stride, stride}, {1, 1}));
  };
  x = convolved(0, 1);  // [B,16,8,8]
  x = convolved(1, 2);  // [B,32,4,4]
  x = convolved(2, 1);  // [B,32,4,4]
  const at::Tensor features = at::linear(x.flatten(1), layers_[3].weight, layers_[3].bias);
  return {features, at::linear(at::silu(features), layers_[4].weight, layers_[4].bias)};
}

}  // namespace cfm::models
