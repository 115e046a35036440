// Every path with every objective that goes with it, from training to samples.

#include <gtest/gtest.h>

#include <numbers>
#include <optional>

#include "checkpoint/safetensors.h"
#include "support/training_run.h"

namespace cfm::test {
namespace {

using checkpoint::Metadata;
using std::numbers::pi;

// The network begins as F = 0: the first loss is the weight times the mean square of what is learnt, which is 1 of
// noise and kData of the pixels of these digits.
constexpr int kImages = 200;
constexpr double kData = 0.650;  // of levels k = 0..16, each spread over 2k/17 - 1 .. 2(k + 1)/17 - 1, in numpy

struct Pair {
  std::string path, objective;
  std::vector<std::string> times;
  Metadata says;               // the weights file
  std::optional<double> loss;  // the first, where it has a closed form
};

const Metadata kOt{{"path.sigma_min", "1e-05"}, {"t_end", "1"}, {"sigma0", "1"}};
const Metadata kVp{{"path.vp_b0", "0.1"}, {"path.vp_b1", "20"}, {"t_end", "0.99999"}, {"sigma0", "1"}};
const Metadata kVe{{"path.ve_smin", "0.02"}, {"path.ve_smax", "100"}, {"t_end", "0.99999"}, {"sigma0", "100"}};
const Metadata kCosine{{"t_end", "1"}, {"sigma0", "1"}};
const Metadata kPolynomial{{"path.polynomial_n", "2"}, {"t_end", "1"}, {"sigma0", "1"}};

const std::vector<std::string> kUniform{}, kStratified{"--stratified=true"}, kSkewed{"--time_sampling=skewed"},
    kLogitNormal{"--time_sampling=logit_normal", "--logit_mean=0.5"}, kLikelihood{"--time_sampling=likelihood"};

const std::vector<Pair> kPairs{
    {"ot", "fm", kLogitNormal, kOt, kData + 1},
    {"cosine", "fm", kStratified, kCosine, pi* pi / 8 * (kData + 1)},
    {"polynomial", "fm", kStratified, kPolynomial, 4. / 3 * (kData + 1)},  // the mean of (2 t)^2
    {"vp", "fm", kUniform, kVp, {}},
    {"vp", "ddpm", kSkewed, kVp, 1},
    {"vp", "sm", kLogitNormal, kVp, 1},
    {"vp", "scoreflow", kLikelihood, kVp, 10.05 + 13.8145},  // ln(e^T(1) - 1) - ln(e^T(1e-5) - 1)
    {"vp", "scoreflow", kUniform, kVp, {}},
    {"ve", "fm", kUniform, kVe, 1},  // of ve it is the noise
    {"ve", "ddpm", kSkewed, kVe, 1},
    {"ve", "sm", kUniform, kVe, 1},
    {"ve", "scoreflow", kLogitNormal, kVe, 2 * 8.5172},  // d ln sigma^2/ds = 2 ln(100/0.02)
};

TEST(EveryPathAndObjective, IsTrainedWithItsLossAndItsWeightsSayHowToSampleIt) {
  const TemporaryFolder folder;
  const std::string data = digit_shards(folder.path(), "train", 0, kImages);
  std::vector<double> held_out_of_scoreflow;  // on vp
  for (const auto& [path, objective, times, says, loss] : kPairs) {
    SCOPED_TRACE(testing::Message() << path << " " << objective << " " << testing::PrintToString(times));
    const std::filesystem::path run_dir = folder.path() / "run", log = folder.path() / "log";
    std::filesystem::remove_all(run_dir);
    const std::vector<std::string> flow{"--path=" + path, "--objective=" + objective};
    const std::vector<std::string> one_step{"--steps=1", "--global_batch=" + std::to_string(kImages),
                                            "--micro_batch=100", "--val_every=1", "--val_data=" + data};
    const Finished trained = run(with_flags(small_run(data, run_dir), flow + times + one_step), log);
    ASSERT_EQ(trained.exit_code, 0) << trained.output;
    if (loss) {
      EXPECT_NEAR(losses(run_dir).at(1), *loss, 0.05 * *loss);
    }
    if (path == "vp" && objective == "scoreflow")
      held_out_of_scoreflow.push_back(events(run_dir, "validation").at(0).at("loss"));

    Metadata expected = says, found;
    expected["path"] = path;
    expected["objective"] = objective;
    const std::string weights = run_dir / "checkpoints" / "step_000000001" / "model.safetensors";
    for (const auto& [key, value] : checkpoint::read_safetensors_metadata(weights))
      if (key.starts_with("path.") || expected.contains(key)) found[key] = value;
    EXPECT_EQ(found, expected);

    const std::string out = folder.path() / "images.npz";
    const Finished sampled = run({program("cfm_sample"), "--run_dir=" + run_dir.string(), "--count=4", "--net_batch=4",
                                  "--solver=heun2", "--steps=2", "--out=" + out},
                                 log);
    ASSERT_EQ(sampled.exit_code, 0) << sampled.output;
    EXPECT_TRUE(std::filesystem::remove(out));
  }
  // Held-out losses are by uniform times, whatever the run's are.
  ASSERT_EQ(held_out_of_scoreflow.size(), 2U);
  EXPECT_NEAR(held_out_of_scoreflow[0] / held_out_of_scoreflow[1], 1, 0.02);
}

}  // namespace
}  // namespace cfm::test
