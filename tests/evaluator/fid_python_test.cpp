// cfm_eval_fid with reference statistics that numpy wrote, against pytorch-fid on PyTorch's features of the same
// images.
#include "support/error_text.h"
#include "support/fid_program.h"
#include "support/python.h"

namespace cfm::evaluator {
namespace {

using nlohmann::json;
using test::CommandResult;
using test::has;
class EvalFidStatistics : public test::FidProgram {};

// The digits' classifier in PyTorch, written apart from the one that trains it.
const char* const kPeer = R"(
import json, numpy as np, torch
from pytorch_fid.fid_score import calculate_frechet_distance
from safetensors.numpy import load_file
from torch.nn.functional import conv2d, linear, silu

w = {name: torch.from_numpy(x).double() for name, x in load_file(FEATURES).items()}
def features(images):
    x = (torch.from_numpy(images).double()[:, None] - 128) / 128
    for i, stride in ((1, 1), (2, 2), (3, 1)):
        x = silu(conv2d(x, w[f"conv{i}.weight"], w[f"conv{i}.bias"], stride, 1))
    return linear(x.flatten(1), w["features.weight"], w["features.bias"]).numpy()

levels = np.load(DIGITS)["images"].astype(np.int64)
images = ((2 * levels + 1) * 128 // 17).astype(np.uint8)
def statistics(images):
    f = features(images)
    return f.mean(0), np.cov(f, rowvar=False)
real, others = statistics(images[:600]), statistics(images[600:1200])
np.savez("published.npz", mu=real[0], sigma=real[1])
np.savez_compressed("float32.npz", mu=real[0].astype(np.float32), sigma=real[1].astype(np.float32), arr_0=images[:600, :, :, None])
np.savez("wide.npz", mu=np.zeros(64), sigma=np.eye(64))
np.savez("nan.npz", mu=real[0] * np.nan, sigma=real[1])
np.savez("skew.npz", mu=real[0], sigma=real[1] + np.triu(np.ones((32, 32)), 1))
np.savez("flat.npz", mu=real[0], sigma=real[1][:5])
np.savez("nothing.npz", other=real[0])
print(calculate_frechet_distance(*real, *others))
)";

TEST_F(EvalFidStatistics, OfOthersAreComparedWithAsPytorchFidDoes) {
  const std::string printed =
      tests::run_python(scratch().path(), "FEATURES = '" CFM_SOURCE_DIR
                                          "/configs/digits/features.safetensors'\n"
                                          "DIGITS = '" CFM_SOURCE_DIR "/configs/digits/digits.npz'\n" +
                                              std::string(kPeer));
  const double expected = std::stod(printed);
  const std::string flags = digits() + " --samples=" + path("others.npz");
  const json published = result_of(flags + " --reference=" + path("published.npz"), "published");
  EXPECT_NEAR(published["fid"]["mean"].get<double>(), expected, 1e-4 * expected);
  EXPECT_TRUE(has(published["not_measured"].get<std::string>(), {"kid", "statistics alone"}));
  EXPECT_FALSE(published.contains("kid"));
  EXPECT_TRUE(published["reference_images"].is_null());
  const json with_images = result_of(flags + " --reference=" + path("float32.npz"), "float32");
  EXPECT_NEAR(with_images["fid"]["mean"].get<double>(), expected, 1e-3 * expected);
  EXPECT_TRUE(with_images.contains("kid"));
  const json computed = result_of(flags + " " + reference(), "computed");
  EXPECT_NEAR(computed["fid"]["mean"].get<double>(), expected, 1e-4 * expected);
  EXPECT_EQ(computed["kid"], with_images["kid"]);  // of the same images

  const std::vector<std::pair<std::string, std::vector<const char*>>> cases{
      {"wide.npz", {"wide.npz", "mu has 64", "32", "another network"}},
      {"nan.npz", {"nan.npz", "mu", "not finite"}},
      {"skew.npz", {"skew.npz", "sigma", "not symmetric"}},
      {"flat.npz", {"flat.npz", "sigma", "[5,32]", "[32,32]"}},
      {"nothing.npz", {"nothing.npz", "neither images", "mu and sigma"}},
  };
  for (const auto& [file, parts] : cases) {
    const CommandResult result = run(flags + " --reference=" + path(file) + " --tag=none " + results(), 2);
    EXPECT_EQ(result.exit_code, 2) << file << "\n" << result.output;
    for (const char* part : parts) EXPECT_TRUE(has(result.output, {part})) << file;
    EXPECT_FALSE(std::filesystem::exists(result_file("none"))) << file;
  }
}

}  // namespace
}  // namespace cfm::evaluator
