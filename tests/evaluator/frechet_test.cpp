#include "evaluator/frechet.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "support/error_text.h"
#include "support/feature_sets.h"

namespace cfm::evaluator {
namespace {

using test::feature_set;

// Covariances with the eigenvectors of one orthogonal matrix commute: Tr(S_1 S_2)^(1/2) is the sum of the roots of the
// products of eigenvalues, whatever the matrix.
TEST(FrechetDistance, OfGaussiansWhoseCovariancesCommuteIsTheClosedForm) {
  const int64_t d = 40;
  const at::Tensor q = std::get<0>(at::linalg_qr(feature_set(d, d, 1).to(at::kDouble)));
  const at::Tensor w_1 = at::linspace(0.1, 3, d, at::kDouble), w_2 = at::linspace(2, 0.3, d, at::kDouble);
  const at::Tensor mean_1 = at::linspace(0, 1, d, at::kDouble), mean_2 = at::zeros({d}, at::kDouble);
  const double expected = ((mean_1 - mean_2).square().sum() + (w_1.sqrt() - w_2.sqrt()).square().sum()).item<double>();
  const Gaussian a{mean_1, (q * w_1).mm(q.t())}, b{mean_2, (q * w_2).mm(q.t())};
  EXPECT_NEAR(frechet_distance(a, b), expected, 1e-12 * expected);
  EXPECT_NEAR(frechet_distance(b, a), expected, 1e-12 * expected);
  EXPECT_NEAR(frechet_distance(a, a), 0, 1e-12 * expected);
}

TEST(FrechetDistance, OfSingularCovariancesIsStillTheClosedForm) {
  const int64_t d = 40;
  const at::Tensor q = std::get<0>(at::linalg_qr(feature_set(d, d, 2).to(at::kDouble)));
  at::Tensor w_1 = at::linspace(0.1, 3, d, at::kDouble), w_2 = at::linspace(2, 0.3, d, at::kDouble);
  w_1.narrow(0, 0, 15).zero_();
  w_2.narrow(0, 10, 20).zero_();
  const at::Tensor mean = at::zeros({d}, at::kDouble);
  const Gaussian a{mean, (q * w_1).mm(q.t())}, b{mean, (q * w_2).mm(q.t())};
  const double expected = (w_1.sqrt() - w_2.sqrt()).square().sum().item<double>();
  EXPECT_NEAR(frechet_distance(a, b), expected, 1e-7 * expected);
  EXPECT_NEAR(frechet_distance(b, a), expected, 1e-7 * expected);
}

// With fewer vectors than dimensions Tr(S_1 S_2)^(1/2) is the nuclear norm of the product of the centred data.
TEST(FrechetDistance, OfFewerVectorsThanDimensionsIsThatOfTheirGramMatrix) {
  const at::Tensor x = feature_set(30, 64, 3).to(at::kDouble), y = feature_set(50, 64, 4, 0.2).to(at::kDouble);
  const auto centred = [](const at::Tensor& f) {
    return (f - f.mean(0)) / std::sqrt(static_cast<double>(f.size(0) - 1));
  };
  const at::Tensor a = centred(x), b = centred(y);
  const double expected = ((x.mean(0) - y.mean(0)).square().sum() + a.square().sum() + b.square().sum() -
                           2 * std::get<1>(at::linalg_svd(a.mm(b.t()))).sum())
                              .item<double>();
  EXPECT_NEAR(frechet_distance(moments_of(x).gaussian(), moments_of(y).gaussian()), expected, 1e-7 * expected);
}

TEST(FrechetDistance, OfOtherWidthsIsRefused) {
  const Gaussian a = moments_of(feature_set(20, 4, 1)).gaussian(), b = moments_of(feature_set(20, 5, 1)).gaussian();
  EXPECT_TRUE(test::has(test::error_text([&] { frechet_distance(a, b); }), {"second mean", "[5]", "[4]"}));
}

}  // namespace
}  // namespace cfm::evaluator
