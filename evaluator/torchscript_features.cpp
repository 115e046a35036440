#include "evaluator/torchscript_features.h"

#include <ATen/core/grad_mode.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/serialization/import.h>

#include <memory>

#include "base/error.h"
#include "base/shape.h"
#include "models/inception.h"
#include "models/named_tensors.h"

namespace cfm::evaluator {
namespace {

constexpr const char* kAdvice =
    ": expected NVIDIA's inception-2015-12-05.pt, or take inception:FILE.safetensors (scripts/convert_inception.py)";

void check_finite(const torch::jit::Module& module, const std::string& file) {
  for (const auto& one : module.named_parameters())
    models::check_finite(file + ": tensor '" + one.name + "'", one.value, kAdvice);
  for (const auto& one : module.named_buffers())
    models::check_finite(file + ": tensor '" + one.name + "'", one.value, kAdvice);
}

std::shared_ptr<torch::jit::Module> load_module(const std::string& file, c10::Device device) {
  try {
    auto module = std::make_shared<torch::jit::Module>(torch::jit::load(file, device));
    module->eval();
    check_finite(*module, file);
    return module;
  } catch (const c10::Error& error) {
    throw Error(file + " is no TorchScript that LibTorch reads (" + error.what_without_backtrace() + ")" + kAdvice);
  }
}

at::Tensor call(torch::jit::Module& module, const at::Tensor& images, const char* option) {
  const at::NoGradGuard no_gradients;
  return module.forward({images}, {{option, true}}).toTensor().to(at::kFloat);
}

}  // namespace

void use_torchscript(FeatureNetwork& network, c10::Device device) {
  const std::string file = network.file.string();
  const std::shared_ptr<torch::jit::Module> module = load_module(file, device);
  const c10::FunctionSchema schema = module->get_method("forward").function().getSchema();
  for (const char* option : {"return_features", "no_output_bias"})
    check(schema.argumentIndexWithName(option).has_value(),
          file + ": its forward has no argument '" + option + "'" + kAdvice);
  network.dimensions = models::kInceptionFeatures;
  network.input = "the TorchScript's own resize of bytes, grey taken three times";
  network.check_takes = [](const data::ImageShape& shape) {
    check(shape.channels == 1 || shape.channels == 3,
          "--features=torchscript takes images of 1 or 3 channels, not " + data::shape_text(shape));
  };
  network.features_of = [module, device, file](const at::Tensor& images) {
    const at::Tensor x = images.to(device).expand({-1, 3, -1, -1}).contiguous();
    ImageFeatures found;
    found.features = call(*module, x, "return_features").cpu();
    check_shape(found.features, {images.size(0), models::kInceptionFeatures}, file + ": features");
    found.logits = call(*module, x, "no_output_bias").log().cpu();  // of probabilities
    return found;
  };
}

}  // namespace cfm::evaluator
