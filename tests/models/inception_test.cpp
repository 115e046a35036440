// Inception against pytorch-fid's own modules under the same random weights: every block, features, logits.

#include "models/inception.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "checkpoint/safetensors.h"
#include "models/tf1_resize.h"
#include "support/error_text.h"
#include "support/python.h"
#include "support/small_unet.h"

namespace cfm::models {
namespace {

using checkpoint::NamedTensors;
using test::error_text;
using test::has;
using test::normal;

// Weights under which activations keep their size through the whole network: nothing dies, nothing grows.
NamedTensors random_weights() {
  NamedTensors weights;
  uint64_t seed = 100;
  for (const auto& [name, shape] : inception_shapes()) {
    const at::Tensor x = normal(shape, ++seed);
    if (name.ends_with("conv.weight")) {
      weights.emplace_back(name, x * std::sqrt(2.0 / static_cast<double>(shape[1] * shape[2] * shape[3])));
    } else if (name.ends_with("bn.weight") || name.ends_with("running_var")) {
      weights.emplace_back(name, 1 + 0.2 * at::tanh(x));
    } else {
      weights.emplace_back(name, (name.starts_with("fc") ? 0.02 : 0.1) * x);
    }
  }
  return weights;
}

at::Tensor bytes(at::IntArrayRef shape, uint64_t seed) {
  return (normal(shape, seed) * 50 + 128).clamp(0, 255).to(at::kByte);
}

double relative_difference(const at::Tensor& ours, const at::Tensor& theirs) {
  return ((ours.to(at::kDouble) - theirs.to(at::kDouble)).abs().max() / theirs.abs().max()).item<double>();
}

TEST(Inception, EveryBlockAgreesWithPytorchFidsModules) {
  const tests::ScratchDirectory folder;
  const NamedTensors weights = random_weights();
  const at::Tensor images = bytes({2, 3, 40, 64}, 1);
  checkpoint::write_safetensors(folder / "weights.safetensors", weights, {});
  checkpoint::write_safetensors(folder / "images.safetensors", {{"images", images}}, {});
  const tests::ProgramResult peer = tests::run_program(
      "'" CFM_PYTHON "' '" CFM_SOURCE_DIR "/tests/models/inception_reference.py' '" + folder.path().string() + "'");
  ASSERT_EQ(peer.exit_code, 0) << peer.output;
  const auto file = checkpoint::read_safetensors(folder / "blocks.safetensors");
  const std::map<std::string, at::Tensor> theirs(file.tensors.begin(), file.tensors.end());

  EXPECT_LE((tf1_bilinear(images, kInceptionSize) - theirs.at("resized")).abs().max().item<double>(), 1e-4);
  const Inception net(weights);
  int blocks = 0;
  const InceptionFeatures features = net.forward(images, [&](const std::string& block, const at::Tensor& output) {
    ++blocks;
    ASSERT_EQ(output.sizes(), theirs.at(block).sizes()) << block;
    const double difference = relative_difference(output, theirs.at(block));
    EXPECT_LT(difference, 1e-4) << block;
    EXPECT_GT(output.std().item<double>(), 1e-3) << block << ": nothing to compare";
    RecordProperty(block, std::to_string(difference));
  });
  EXPECT_EQ(blocks, 16);
  EXPECT_LT(relative_difference(features.pool, theirs.at("pool")), 1e-4);
  EXPECT_LT(relative_difference(features.logits, theirs.at("logits")), 1e-4);
  EXPECT_LT(relative_difference(features.spatial, theirs.at("spatial")), 1e-4);
}

TEST(Inception, TakesGreyImagesAsThreeEqualChannels) {
  const Inception net(random_weights());
  const at::Tensor grey = bytes({1, 1, 8, 8}, 2);
  EXPECT_TRUE(at::equal(net.forward(grey).pool, net.forward(grey.expand({1, 3, 8, 8})).pool));
}

TEST(Inception, HasTheSizesOfThePublicWeights) {
  int64_t convolutions = 0, numbers = 0;
  for (const auto& [name, shape] : inception_shapes()) {
    convolutions += name.ends_with("conv.weight") ? 1 : 0;
    int64_t size = 1;
    for (const int64_t n : shape) size *= n;
    numbers += name.find("running") == std::string::npos ? size : 0;
  }
  EXPECT_EQ(convolutions, 94);
  EXPECT_EQ(numbers, 23'850'960);  // torchvision's inception_v3(num_classes=1008, aux_logits=False)
}

TEST(Inception, TakesWhatTheScriptMakesOfAStateDict) {
  const tests::ScratchDirectory folder;
  const NamedTensors weights = random_weights();
  checkpoint::write_safetensors(folder / "weights.safetensors", weights, {});
  tests::run_python(folder.path(), R"(
import runpy, sys, torch
from safetensors.torch import load_file
state = load_file("weights.safetensors")
torch.save({**state, "Conv2d_1a_3x3.bn.num_batches_tracked": torch.tensor(5)}, "weights.pth")
sys.argv = ["convert_inception.py", "weights.pth", "converted.safetensors"]
runpy.run_path(")" CFM_SOURCE_DIR R"(/scripts/convert_inception.py", run_name="__main__")
)");
  const auto converted = checkpoint::read_safetensors(folder / "converted.safetensors");
  const std::map<std::string, at::Tensor> found(converted.tensors.begin(), converted.tensors.end());
  ASSERT_EQ(found.size(), weights.size());
  for (const auto& [name, tensor] : weights) EXPECT_TRUE(at::equal(found.at(name), tensor)) << name;
  const at::Tensor images = bytes({1, 3, 8, 8}, 4);
  EXPECT_TRUE(at::equal(Inception(converted.tensors).forward(images).pool, Inception(weights).forward(images).pool));
}

TEST(Inception, RefusesOtherWeightsByName) {
  NamedTensors weights = random_weights();
  const auto refusal = [](const NamedTensors& tensors) { return error_text([&] { Inception{tensors}; }); };
  NamedTensors missing(weights.begin() + 1, weights.end());
  EXPECT_TRUE(has(refusal(missing), {"Conv2d_1a_3x3.conv.weight", "[32,3,3,3]", "missing"}));
  NamedTensors more = weights;
  more.emplace_back("AuxLogits.fc.weight", at::ones({2}));
  EXPECT_TRUE(has(refusal(more), {"AuxLogits.fc.weight", "not expected"}));
  NamedTensors other = weights;
  other.back().second = at::ones({1000});
  EXPECT_TRUE(has(refusal(other), {"fc.bias", "[1000]", "[1008]"}));
  NamedTensors broken = weights;
  broken[5].second = at::full_like(broken[5].second, NAN);
  EXPECT_TRUE(has(refusal(broken), {broken[5].first.c_str(), "not finite"}));
  EXPECT_TRUE(has(error_text([&] { Inception(weights).forward(bytes({1, 4, 8, 8}, 3)); }), {"4 channels"}));
}

}  // namespace
}  // namespace cfm::models
