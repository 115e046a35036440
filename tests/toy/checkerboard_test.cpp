#include "toy/checkerboard.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <map>
#include <utility>

#include "support/flow_tensors.h"
#include "toy/point_likelihood.h"
#include "toy/training.h"

namespace cfm::toy {
namespace {

// The middles of n x n equal cells of [0,1)^2.
at::Tensor cells(int64_t n) {
  const at::Tensor middles = (at::arange(n, at::kDouble) + 0.5) / static_cast<double>(n);
  return at::cartesian_prod({middles, middles});
}

TEST(Checkerboard, EverySecondSquareGetsTheSameShareSpreadEvenly) {
  // 8 squares of (64 / 4) x (64 / 2) cells each: a cell of [0,1)^2 becomes one of a square's 16 x 32.
  const at::Tensor points = checkerboard_points(cells(64)) * 0.45;
  std::map<std::pair<int, int>, std::array<double, 5>> squares;  // by column and row: n, sums of x, y, x^2, y^2
  for (int64_t i = 0; i < points.size(0); ++i) {
    const auto x = points[i][0].item<double>(), y = points[i][1].item<double>();
    const int column = static_cast<int>(std::floor(x)), row = static_cast<int>(std::floor(y));
    const double a = x - column - 0.5, b = y - row - 0.5;
    auto& sums = squares[{column, row}];
    const std::array<double, 5> terms{1, a, b, a * a, b * b};
    for (size_t k = 0; k < terms.size(); ++k) sums[k] += terms[k];
  }
  ASSERT_EQ(squares.size(), 8U);
  for (const auto& [square, sums] : squares) {
    const auto [column, row] = square;
    EXPECT_TRUE(column >= -2 && column < 2 && row >= -2 && row < 2) << column << " " << row;
    EXPECT_EQ((column + row + 4) % 2, 0) << column << " " << row;
    EXPECT_EQ(sums[0], 512);
    EXPECT_NEAR(sums[1], 0, 1e-9);
    EXPECT_NEAR(sums[2], 0, 1e-9);
    // the variance of n middles of equal parts of [0,1]: (1 - 1/n^2)/12
    EXPECT_NEAR(sums[3] / 512, (1 - 1.0 / (16 * 16)) / 12, 1e-12);
    EXPECT_NEAR(sums[4] / 512, (1 - 1.0 / (32 * 32)) / 12, 1e-12);
  }
}

TEST(Checkerboard, EntropyIsMinusTheLogOfItsDensity) {
  EXPECT_NEAR(std::exp(-checkerboard_entropy()), 0.0253125, 1e-15);
}

TEST(PointLikelihood, OfALinearFieldIsItsClosedForm) {
  // v = A x: x(0) = exp(-A) y, and the divergence is tr A everywhere.
  const at::Tensor A = at::tensor({0.3, -1.1, 0.8, -0.6}, at::kDouble).view({2, 2});
  const flow::SampleVelocity v = [&A](const at::Tensor& x, const at::Tensor&, std::span<const int64_t>) {
    return at::matmul(x, A.t());
  };
  const at::Tensor points = checkerboard_points(cells(3));
  const flow::OdeConfig ode{.solver = flow::kAdaptiveSolver, .atol = 1e-10, .rtol = 1e-10};
  const std::vector<PointDensity> densities = point_densities(v, ode, 1.5, 4, points);
  ASSERT_EQ(densities.size(), 9U);
  const at::Tensor start = at::matmul(points, at::linalg_matrix_exp(-A).t());
  for (int64_t i = 0; i < 9; ++i) {
    const double expected =
        -std::log(2 * M_PI * 1.5 * 1.5) - start[i].square().sum().item<double>() / (2 * 1.5 * 1.5) - (0.3 - 0.6);
    EXPECT_NEAR(densities[static_cast<size_t>(i)].log_p, expected, 1e-8) << i;
  }
}

TEST(Training, FindsTheSlopeThatARegressionMustFind) {
  // fm's best answer is E[u | x_t], which has u's own slope on x_t: E u x_t / E x_t^2, with x_t = t x1 + (1 - t) x0 and
  // u = x1 - x0 (sigma_min aside). A coordinate of x1 has the variance of U(-2, 2)/0.45, one of x0 1.
  TrainingConfig config{.model = {.width = 48, .layers = 3, .time_frequencies = 3}, .steps = 1500, .global_batch = 128};
  int64_t looks = 0;
  const Trained trained = train(config, [&looks](int64_t steps_made, const Net&) { EXPECT_EQ(steps_made, looks++); });
  EXPECT_EQ(looks, 1501);
  EXPECT_EQ(trained.losses.size(), 1500U);
  const at::Tensor x1 = checkerboard_points(cells(64)), x0 = tests::some_normals({64 * 64, 2}, 7);
  const double variance = 16.0 / 12 / (0.45 * 0.45);
  for (const double t : {0.3, 0.5, 0.7}) {
    const at::Tensor x = (t * x1 + (1 - t) * x0).to(at::kFloat);
    const at::Tensor v = velocity_of(config, trained.net)(x, at::full({64 * 64}, t, at::kFloat), {});
    const double slope = (v * x).sum().item<double>() / x.square().sum().item<double>();
    EXPECT_NEAR(slope, (t * variance - (1 - t)) / (t * t * variance + (1 - t) * (1 - t)), 0.2) << t;
  }
}

}  // namespace
}  // namespace cfm::toy
