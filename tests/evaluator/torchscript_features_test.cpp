// A TorchScript file with the interface of NVIDIA's, and files that are none.
#include "evaluator/torchscript_features.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "support/error_text.h"
#include "support/file_bytes.h"
#include "support/python.h"

namespace cfm::evaluator {
namespace {

using test::error_text;
using test::has;

// Features are multiples of a pixel, logits those of another.
const char* const kModules = R"(
import torch
class Network(torch.nn.Module):
    def forward(self, img, return_features: bool = False, use_fp16: bool = False, no_output_bias: bool = False):
        x = img.float()
        if return_features:
            return x[:, 2, 0, 0][:, None] * torch.arange(2048)
        logits = x[:, 1, 1, 1][:, None] / 255 * torch.arange(1008) / 1008
        return torch.softmax(logits if no_output_bias else logits + 1, 1)
class Other(torch.nn.Module):
    def forward(self, img):
        return img.float()
class Weighted(Network):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor([1.0, float("nan")]))
torch.jit.script(Network()).save("network.pt")
torch.jit.script(Weighted()).save("nan.pt")
torch.jit.script(Other()).save("other.pt")
)";

TEST(TorchscriptFeatures, AreWhatTheFileGivesForBytes) {
  const tests::ScratchDirectory folder;
  tests::run_python(folder.path(), kModules);
  const FeatureNetwork network = load_feature_network("torchscript:" + (folder / "network.pt").string(), c10::kCPU);
  EXPECT_EQ(network.dimensions, 2048);
  EXPECT_EQ(network.hash.size(), 32U);
  const at::Tensor grey = at::arange(1, 9, at::kByte).view({2, 1, 2, 2});
  const ImageFeatures found = network.features_of(grey);
  ASSERT_EQ(found.features.sizes(), (std::vector<int64_t>{2, 2048}));
  EXPECT_EQ(found.features[0][7].item<float>(), 7 * 1);
  EXPECT_EQ(found.features[1][7].item<float>(), 7 * 5);
  EXPECT_FALSE(found.spatial.defined());
  // log p differs from the logits by a constant a row.
  EXPECT_NEAR((found.logits[1][1007] - found.logits[1][0]).item<double>(), 8.0 / 255 * 1007 / 1008, 1e-5);
}

TEST(TorchscriptFeatures, OfOtherFilesAreRefused) {
  const tests::ScratchDirectory folder;
  tests::run_python(folder.path(), kModules);
  const std::string bytes = test::bytes_of(folder / "network.pt");
  test::put_bytes(folder / "cut.pt", bytes.substr(0, bytes.size() / 2));
  const auto refusal = [&](const char* file) {
    return error_text([&] { load_feature_network("torchscript:" + (folder / file).string(), c10::kCPU); });
  };
  EXPECT_TRUE(has(refusal("other.pt"), {"other.pt", "return_features", "inception-2015-12-05.pt"}));
  EXPECT_TRUE(has(refusal("nan.pt"), {"nan.pt", "'weight'", "not finite"}));
  EXPECT_TRUE(has(refusal("cut.pt"), {"cut.pt", "no TorchScript"}));
  EXPECT_TRUE(has(refusal("none.pt"), {"none.pt", "no TorchScript"}));
}

}  // namespace
}  // namespace cfm::evaluator
