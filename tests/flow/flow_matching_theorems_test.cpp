// Theorems 1 and 2 of arXiv:2210.02747v2, by quadrature on three data points in one dimension, float64. The density and
// the marginal field of L_FM stand here in closed form; the conditional path is the code's.
#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "flow/objective.h"
#include "support/flow_paths.h"
#include "support/flow_tensors.h"

namespace cfm::flow {
namespace {

constexpr std::array<double, 3> kData{-1.2, 0.3, 0.9};
constexpr int kTimes = 20;       // midpoints of [0, 1]; the theorem holds at each
constexpr int64_t kNodes = 801;  // trapezoids: of spectral accuracy for densities that vanish at both ends
constexpr double kReach = 10;

double gaussian(double x, double mean, double sigma) {
  const double z = (x - mean) / sigma;
  return std::exp(-z * z / 2) / (sigma * std::sqrt(2 * std::numbers::pi));
}

// Of each kind, with widths that the nodes below resolve and reach.
class EveryPath : public testing::TestWithParam<Path> {};

INSTANTIATE_TEST_SUITE_P(Paths, EveryPath,
                         testing::Values(Path{.path = "ot", .sigma_min = 0.1}, Path{.path = "vp"},
                                         Path{.path = "ve", .ve_smin = 0.2, .ve_smax = 1.5}, Path{.path = "cosine"},
                                         Path{.path = "polynomial", .polynomial_n = 2}),
                         [](const auto& info) { return info.param.path; });

double given(const Path& path, double x, double x1, double t) {
  return gaussian(x, tests::printed_alpha(path, t) * x1, tests::printed_sigma(path, t));
}

double density(const Path& path, double x, double t) {
  double p = 0;
  for (const double x1 : kData) p += given(path, x, x1, t) / 3;
  return p;
}

// p(x) u(x) = sum over the data of p(x | x1) u(x | x1) p(x1), the conditional field being eq. 15 written out, the rates
// by differences.
double marginal_velocity(const Path& path, double x, double t) {
  const auto alpha = [&](double at) { return tests::printed_alpha(path, at); };
  const auto sigma = [&](double at) { return tests::printed_sigma(path, at); };
  const double alpha_rate = tests::derivative(alpha, t, 1e-4), sigma_rate = tests::derivative(sigma, t, 1e-4);
  double flux = 0;
  for (const double x1 : kData)
    flux += given(path, x, x1, t) / 3 * (sigma_rate / sigma(t) * (x - alpha(t) * x1) + alpha_rate * x1);
  return flux / density(path, x, t);
}

struct Weighted {
  std::vector<double> x, t, target, weight;
  at::Tensor tensor(const std::vector<double>& values) const {
    return at::tensor(values, at::kDouble).view({static_cast<int64_t>(values.size()), 1, 1, 1});
  }
};

double node(int64_t i) { return -kReach + 2 * kReach * static_cast<double>(i) / (kNodes - 1); }
constexpr double kStep = 2 * kReach / (kNodes - 1);

// A small network with six weights.
at::Tensor model(const at::Tensor& w, const at::Tensor& x, const at::Tensor& t) {
  return w[0] + w[1] * x + w[2] * t + w[3] * (w[4] * x + w[5] * t).tanh();
}

struct LossAndGradient {
  double loss;
  at::Tensor gradient;
};

LossAndGradient with_gradient(const std::function<at::Tensor(const at::Tensor& w)>& loss_of,
                              const at::Tensor& weights) {
  const at::Tensor w = weights.detach().clone().requires_grad_(true);
  const at::Tensor loss = loss_of(w);
  loss.backward();
  return {loss.item<double>(), w.grad()};
}

// E over t and x ~ p_t of (v - u_t(x))^2. [eq. 5]
at::Tensor flow_matching_loss(const Path& path, const at::Tensor& w) {
  Weighted q;
  for (int j = 0; j < kTimes; ++j) {
    const double t = (j + 0.5) / kTimes;
    for (int64_t i = 0; i < kNodes; ++i) {
      // Where the density underflows the field is 0/0, and of no weight.
      const double weight = density(path, node(i), t) * kStep / kTimes;
      if (weight < 1e-200) continue;
      q.x.push_back(node(i));
      q.t.push_back(t);
      q.target.push_back(marginal_velocity(path, node(i), t));
      q.weight.push_back(weight);
    }
  }
  const at::Tensor v = model(w, q.tensor(q.x), q.tensor(q.t));
  return ((v - q.tensor(q.target)).square() * q.tensor(q.weight)).sum();
}

// E over t, x1 and x0 of the code's loss at the code's path. [eq. 9, 23]
at::Tensor conditional_flow_matching_loss(const Path& path, const at::Tensor& w) {
  Weighted q;
  std::vector<double> x1;
  for (int j = 0; j < kTimes; ++j) {
    for (const double data : kData) {
      for (int64_t i = 0; i < kNodes; ++i) {
        q.x.push_back(node(i));
        q.t.push_back((j + 0.5) / kTimes);
        q.weight.push_back(gaussian(node(i), 0, 1) * kStep / kTimes / 3);
        x1.push_back(data);
      }
    }
  }
  const at::Tensor t = at::tensor(q.t, at::kDouble);
  const auto [x_t, u_t] = sample_path(path, q.tensor(q.x), q.tensor(x1), t);
  const TrainingPoint point{.input = x_t, .t = t, .target = u_t, .scale = {}, .weight = {}};
  return (loss(model(w, x_t, over_images(t, x_t)), point) * at::tensor(q.weight, at::kDouble)).sum();
}

TEST_P(EveryPath, BothLossesHaveTheSameGradientAndDifferByAConstant) {  // theorem 2
  const Path& path = GetParam();
  std::vector<double> differences;
  for (unsigned seed = 0; seed < 5; ++seed) {
    const at::Tensor w = tests::some_normals({6}, seed);
    const LossAndGradient marginal = with_gradient([&](const at::Tensor& v) { return flow_matching_loss(path, v); }, w);
    const LossAndGradient conditional =
        with_gradient([&](const at::Tensor& v) { return conditional_flow_matching_loss(path, v); }, w);
    EXPECT_LT(tests::largest_difference(marginal.gradient, conditional.gradient), 1e-6);
    EXPECT_GT(marginal.gradient.norm().item<double>(), 0.1);  // or the agreement would say little
    differences.push_back(conditional.loss - marginal.loss);
  }
  // The variance of the target given x: positive, and the same whatever the weights.
  EXPECT_GT(differences[0], 0.1);
  for (const double difference : differences) EXPECT_NEAR(difference, differences[0], 1e-8);
}

// The marginal field made of the code's conditional field (eq. 8).
double velocity_of_code(const Path& path, double x, double t) {
  double flux = 0;
  for (const double x1 : kData) {
    const at::Tensor u =
        conditional_velocity(path, at::tensor({x}, at::kDouble).view({1, 1, 1, 1}),
                             at::tensor({x1}, at::kDouble).view({1, 1, 1, 1}), at::tensor({t}, at::kDouble));
    flux += given(path, x, x1, t) / 3 * u.item<double>();
  }
  return flux / density(path, x, t);
}

TEST_P(EveryPath, TheMarginalFieldSatisfiesTheContinuityEquation) {  // theorem 1
  const Path& path = GetParam();
  double largest_term = 0;
  for (const double t : {0.05, 0.3, 0.6, 0.9}) {
    for (double x = -2.5; x <= 2.5; x += 0.25) {
      const double change = tests::derivative([&](double at) { return density(path, x, at); }, t, 2e-4);
      const double divergence =
          tests::derivative([&](double at) { return density(path, at, t) * velocity_of_code(path, at, t); }, x, 2e-4);
      EXPECT_NEAR(change + divergence, 0, 1e-7) << "t " << t << ", x " << x;
      largest_term = std::max(largest_term, std::abs(change));
    }
  }
  EXPECT_GT(largest_term, 0.5);
}

}  // namespace
}  // namespace cfm::flow
