#include "evaluator/feature_network.h"

#include <memory>

#include "base/error.h"
#include "checkpoint/safetensors.h"
#include "evaluator/torchscript_features.h"
#include "models/digit_features.h"
#include "models/inception.h"

namespace cfm::evaluator {
namespace {

using data::ImageShape;

// Makes a Net of the file's tensors; errors name the file and what would help.
template <class Net>
std::shared_ptr<Net> read_network(const std::filesystem::path& file, const std::string& advice, c10::Device device) {
  const checkpoint::SafetensorsFile content = checkpoint::read_safetensors(file);
  try {
    auto net = std::make_shared<Net>(content.tensors);
    net->to(device);
    return net;
  } catch (const Error& error) {
    throw Error(file.string() + ": " + error.what() + ". " + advice);
  }
}

void use_inception(FeatureNetwork& network, c10::Device device) {
  const auto net = read_network<models::Inception>(
      network.file,
      "Expected the FID's Inception-v3 as scripts/convert_inception.py writes it from pytorch-fid's public weights.",
      device);
  network.dimensions = models::kInceptionFeatures;
  network.spatial_dimensions = models::kInceptionSpatial;
  network.input = "TensorFlow 1 bilinear resize of bytes to 299x299, (p - 128)/128, grey taken three times";
  network.check_takes = [](const ImageShape& shape) {
    check(shape.channels == 1 || shape.channels == 3,
          "--features=inception takes images of 1 or 3 channels, not " + data::shape_text(shape));
  };
  network.features_of = [net, device](const at::Tensor& images) {
    const models::InceptionFeatures all = net->forward(images.to(device));
    return ImageFeatures{all.pool.cpu(), all.spatial.cpu(), all.logits.cpu()};
  };
}

void use_digits(FeatureNetwork& network, c10::Device device) {
  const auto net = read_network<models::DigitClassifier>(
      network.file, "Expected the digits' classifier: configs/digits/features.safetensors.", device);
  network.dimensions = models::kDigitFeatures;
  network.input = "bytes as they are, (p - 128)/128";
  network.check_takes = [](const ImageShape& shape) {
    check(shape == ImageShape{1, models::kDigitSize, models::kDigitSize},
          "--features=digits takes grey images of 8x8, not " + data::shape_text(shape) +
              ". For other images take --features=inception:FILE.safetensors");
  };
  network.features_of = [net, device](const at::Tensor& images) {
    const models::DigitFeatures all = net->forward(images.to(device));
    return ImageFeatures{all.features.cpu(), {}, all.logits.cpu()};
  };
}

}  // namespace

FeatureNetwork load_feature_network(const std::string& features, c10::Device device) {
  const size_t colon = features.find(':');
  FeatureNetwork network;
  network.name = features.substr(0, colon);
  const bool known = network.name == "inception" || network.name == "digits" || network.name == "torchscript";
  check(known && colon != std::string::npos && colon + 1 < features.size(),
        "--features=" + features +
            ": expected inception:FILE.safetensors (weights: scripts/convert_inception.py), torchscript:FILE.pt "
            "(NVIDIA's inception-2015-12-05.pt) or digits:configs/digits/features.safetensors");
  network.file = features.substr(colon + 1);
  if (network.name == "inception") {
    use_inception(network, device);
  } else if (network.name == "torchscript") {
    use_torchscript(network, device);
  } else {
    use_digits(network, device);
  }
  network.hash = checkpoint::file_hash(network.file);
  return network;
}

}  // namespace cfm::evaluator
