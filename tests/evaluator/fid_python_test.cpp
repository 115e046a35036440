// cfm_eval_fid with reference statistics that numpy wrote, against pytorch-fid on PyTorch's features of the same
// images.
#include <sstream>

#include "support/error_text.h"
#include "support/fid_program.h"
#include "support/python.h"

namespace cfm::evaluator {
namespace {

using nlohmann::json;
using test::CommandResult;
using test::digit_bytes;
using test::has;

const char* const kKeptClassifier = CFM_SOURCE_DIR "/configs/digits/features.safetensors";

class EvalFidStatistics : public test::FidProgram {};

// The digits as test::digit_bytes() has them.
const std::string kDigits = "DIGITS = '" CFM_SOURCE_DIR
                            "/configs/digits/digits.npz'\n"
                            R"(
import numpy as np
levels = np.load(DIGITS)["images"].astype(np.int64)
images = ((2 * levels + 1) * 128 // 17).astype(np.uint8)
)";

// The digits' classifier in PyTorch, written apart from the one that trains it: of the file FEATURES.
const char* const kClassifier = R"(
import torch
from safetensors.numpy import load_file
from torch.nn.functional import conv2d, linear, silu

w = {name: torch.from_numpy(x).double() for name, x in load_file(FEATURES).items()}
def features(images):
    x = (torch.from_numpy(images).double()[:, None] - 128) / 128
    for i, stride in ((1, 1), (2, 2), (3, 1)):
        x = silu(conv2d(x, w[f"conv{i}.weight"], w[f"conv{i}.bias"], stride, 1))
    return linear(x.flatten(1), w["features.weight"], w["features.bias"]).numpy()
)";

const char* const kStatistics = R"(
from pytorch_fid.fid_score import calculate_frechet_distance
def statistics(images):
    f = features(images)
    return f.mean(0), np.cov(f, rowvar=False)
real, others = statistics(images[:600]), statistics(images[600:1200])
np.savez("published.npz", mu=real[0], sigma=real[1])
np.savez_compressed("float32.npz", mu=real[0].astype(np.float32), sigma=real[1].astype(np.float32), arr_0=images[:600, :, :, None])
np.savez("wide.npz", mu=np.zeros(64), sigma=np.eye(64))
np.savez("nan.npz", mu=real[0] * np.nan, sigma=real[1])
np.savez("skew.npz", mu=real[0], sigma=real[1] + np.triu(np.ones((32, 32)), 1))
np.savez("negative.npz", mu=real[0], sigma=-real[1])
np.savez("flat.npz", mu=real[0], sigma=real[1][:5])
np.savez("nothing.npz", other=real[0])
print(calculate_frechet_distance(*real, *others))
)";

std::string classifier_in_pytorch(const std::string& file) {
  return kDigits + "FEATURES = '" + file + "'\n" + kClassifier;
}

// FID of the 600 others to the 600 real digits in pytorch-fid, between the features of this classifier in PyTorch.
double fid_in_pytorch(const std::filesystem::path& folder, const std::string& classifier) {
  return std::stod(tests::run_python(folder, classifier_in_pytorch(classifier) + kStatistics));
}

TEST_F(EvalFidStatistics, OfOthersAreComparedWithAsPytorchFidDoes) {
  const double expected = fid_in_pytorch(scratch().path(), kKeptClassifier);
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
      {"negative.npz", {"negative.npz", "sigma", "negative variance"}},
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

TEST_F(EvalFidStatistics, AreBetweenFeaturesOfAClassifierThatTheScriptHasTrained) {
  const std::string classifier = path("classifier.safetensors");
  const test::CommandResult trained = test::run_command(
      "'" CFM_PYTHON "' -B " CFM_SOURCE_DIR "/scripts/train_digit_features.py --epochs=5 --out=" + classifier);
  ASSERT_EQ(trained.exit_code, 0) << trained.output;
  const size_t percent = trained.output.find("of training, ");
  ASSERT_NE(percent, std::string::npos) << trained.output;
  EXPECT_GT(std::stod(trained.output.substr(percent + 13)), 50) << "a tenth by chance: " << trained.output;
  const double expected = fid_in_pytorch(scratch().path(), classifier);
  const json result =
      result_of("--features=digits:" + classifier + " " + reference() + " --samples=" + path("others.npz"), "trained");
  EXPECT_NEAR(result["fid"]["mean"].get<double>(), expected, 1e-4 * expected);
}

// The kept classifier on the validation split, which it was not trained on.
TEST_F(EvalFidStatistics, AreBetweenFeaturesOfAKeptClassifierThatTellsDigitsApart) {
  const double percent = std::stod(tests::run_python(scratch().path(), classifier_in_pytorch(kKeptClassifier) + R"(
logits = linear(silu(torch.from_numpy(features(images[1297:1497]))), w["logits.weight"], w["logits.bias"])
print(100 * (logits.argmax(1).numpy() == np.load(DIGITS)["labels"][1297:1497]).mean())
)"));
  EXPECT_GE(percent, 98);
}

// An Inception network under random weights, assembled from pytorch-fid's blocks; FID and sFID of 12 digits to 12
// others in numpy, and a file of statistics as ADM publishes them. There are fewer images than features: the trace of
// the covariances' root is the nuclear norm of the centred features' products, without any root of a matrix.
const char* const kInceptionPeer = R"(
import pytorch_fid.inception, torch
from safetensors.torch import save_file
from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

torch.manual_seed(0)
pytorch_fid.inception.load_state_dict_from_url = lambda *_, **__: {}
kept, torch.nn.Module.load_state_dict = torch.nn.Module.load_state_dict, lambda *_, **__: None
net = pytorch_fid.inception.fid_inception_v3().eval()
torch.nn.Module.load_state_dict = kept
save_file({name: x.contiguous() for name, x in net.state_dict().items() if "num_batches_tracked" not in name}, "inception.safetensors")

seen = {}
net.Mixed_6d.branch1x1.register_forward_hook(lambda _, __, out: seen.__setitem__("spatial", out[:, :7].permute(0, 2, 3, 1).flatten(1)))
net.fc.register_forward_pre_hook(lambda _, given: seen.__setitem__("pool", given[0]))
def features(images):
    x = torch.from_numpy(images).float()[:, None].expand(-1, 3, -1, -1)
    x = interpolate_bilinear_2d_like_tensorflow1x(x, size=(299, 299), align_corners=False)
    with torch.no_grad():
        net((x - 128) / 128)
    return {name: tensor.double().numpy() for name, tensor in seen.items()}
real, others = features(images[:12]), features(images[600:612])
published = {"mu": real["pool"].mean(0), "mu_s": real["spatial"].mean(0)}
np.savez("few_published.npz", **published, sigma=np.cov(real["pool"].T), sigma_s=np.cov(real["spatial"].T))
for name in ("pool", "spatial"):
    a, b = real[name], others[name]
    mean = ((a.mean(0) - b.mean(0)) ** 2).sum()
    a, b = a - a.mean(0), b - b.mean(0)
    print(mean + ((a**2).sum() + (b**2).sum() - 2 * np.linalg.svd(a @ b.T, compute_uv=False).sum()) / 11)
)";

TEST_F(EvalFidStatistics, OfAnInceptionNetworkGiveFidAndSfidOnAnyRanksFromTheCacheAndFromAFile) {
  std::istringstream printed(tests::run_python(scratch().path(), kDigits + kInceptionPeer));
  double fid = 0, sfid = 0;
  printed >> fid >> sfid;
  ASSERT_GT(fid, 0);
  ASSERT_GT(sfid, 0);
  std::filesystem::create_directories(path("few"));
  test::write_image_shard(path("few/train.h5"), digit_bytes(0, 12));
  test::write_image_npz(path("few.npz"), digit_bytes(600, 12));
  const std::string flags =
      "--features=inception:" + path("inception.safetensors") + " --samples=" + path("few.npz") + " --reference=";
  const json two = result_of(flags + path("few"), "two", 2), cached = result_of(flags + path("few"), "cached");
  const json published = result_of(flags + path("few_published.npz"), "published_few");
  for (const auto& [name, expected] : {std::pair<std::string, double>{"fid", fid}, {"sfid", sfid}}) {
    EXPECT_NEAR(two[name]["mean"].get<double>(), expected, 1e-3 * expected) << name;
    EXPECT_NEAR(published[name]["mean"].get<double>(), expected, 1e-3 * expected) << name;
    EXPECT_GE(two["rank_deficient"].size(), 2U);
  }
  EXPECT_EQ(numbers_of(two), numbers_of(cached)) << "on one rank, with the reference of two";
}

}  // namespace
}  // namespace cfm::evaluator
