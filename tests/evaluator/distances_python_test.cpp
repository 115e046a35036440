// Every distance between sets of features against pytorch-fid, torch-fidelity and plain numpy.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "checkpoint/safetensors.h"
#include "evaluator/frechet.h"
#include "evaluator/inception_score.h"
#include "evaluator/kernel_distance.h"
#include "evaluator/precision_recall.h"
#include "support/feature_sets.h"
#include "support/python.h"

namespace cfm::evaluator {
namespace {

using test::feature_set;

nlohmann::json peers(const checkpoint::NamedTensors& tensors) {
  const tests::ScratchDirectory folder;
  checkpoint::write_safetensors(folder / "in.safetensors", tensors, {});
  const tests::ProgramResult result = tests::run_program(
      "cd '" + folder.path().string() +
      "' && '" CFM_PYTHON "' '" CFM_SOURCE_DIR "/tests/evaluator/distances_reference.py' in.safetensors out.json");
  EXPECT_EQ(result.exit_code, 0) << result.output;
  return nlohmann::json::parse(std::ifstream(folder / "out.json"));
}

at::Tensor subsets_of(uint64_t seed, uint64_t first_id, int64_t subsets, int64_t n, int64_t size) {
  std::vector<at::Tensor> rows;
  for (int64_t i = 0; i < subsets; ++i)
    rows.push_back(at::tensor(
        keyed_subset({seed, Purpose::kKidSubset, first_id + 2 * static_cast<uint64_t>(i)}, n, size), at::kLong));
  return at::stack(rows);
}

TEST(Distances, AgreeWithPytorchFidTorchFidelityAndNumpy) {
  const at::Tensor samples = feature_set(700, 48, 2), reference = feature_set(900, 48, 3, 0.15);
  const at::Tensor logits = 2 * feature_set(700, 30, 4);
  const nlohmann::json theirs = peers({{"samples", samples},
                                       {"reference", reference},
                                       {"logits", logits},
                                       {"split_size", at::scalar_tensor(150, at::kLong)},
                                       {"subsets_samples", subsets_of(9, 0, 20, 700, 100)},
                                       {"subsets_reference", subsets_of(9, 1, 20, 900, 100)}});
  const auto near = [&](const char* name, double ours, double relative) {
    const auto expected = theirs.at(name).get<double>();
    EXPECT_NEAR(ours, expected, relative * std::abs(expected)) << name;
  };
  const double fid = frechet_distance(moments_of(samples).gaussian(), moments_of(reference).gaussian());
  near("fid_pytorch_fid", fid, 1e-6);
  near("fid_torch_fidelity", fid, 1e-6);
  near("kid_torch_fidelity", kernel_distance(samples, reference.narrow(0, 0, 700), 0, {1, 700}).mean, 1e-6);
  const KernelDistance kid = kernel_distance(samples, reference, /*seed=*/9, {20, 100});
  near("kid_mean", kid.mean, 1e-6);
  near("kid_deviation", kid.deviation, 1e-6);
  const ScoreOverSplits score = inception_score(logits, 10), adm = inception_score_by_size(logits, 150);
  near("is_mean", score.mean, 1e-9);
  near("is_deviation", score.deviation, 1e-6);
  near("is_adm_mean", adm.mean, 1e-9);
  near("is_adm_deviation", adm.deviation, 1e-6);
  EXPECT_EQ(adm.splits, 5);
  const PrecisionRecall manifold = precision_recall(samples, reference);
  EXPECT_DOUBLE_EQ(manifold.precision, theirs.at("precision").get<double>());
  EXPECT_DOUBLE_EQ(manifold.recall, theirs.at("recall").get<double>());
  near("precision_torch_fidelity", manifold.precision, 1e-6);
  near("recall_torch_fidelity", manifold.recall, 1e-6);
  EXPECT_GT(manifold.precision, 0.1);
  EXPECT_LT(manifold.recall, 0.99);
}

TEST(Distances, Of2048DimensionsAgreeWithScipysRoot) {
  const Gaussian a = moments_of(feature_set(4096, 2048, 5)).gaussian();
  const Gaussian b = moments_of(feature_set(4096, 2048, 6, 0.1)).gaussian();
  const nlohmann::json theirs =
      peers({{"mean_1", a.mean}, {"covariance_1", a.covariance}, {"mean_2", b.mean}, {"covariance_2", b.covariance}});
  const auto expected = theirs.at("wide").get<double>();
  EXPECT_NEAR(frechet_distance(a, b), expected, 1e-6 * expected);
}

}  // namespace
}  // namespace cfm::evaluator
