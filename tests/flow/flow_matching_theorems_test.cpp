// Theorems 1 and 2 of arXiv:2210.02747v2, by quadrature on three data points in one dimension, float64. The density and
// the marginal field of L_FM stand here in closed form; the conditional path is the code's.
#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "flow/path.h"
#include "support/flow_tensors.h"

namespace cfm::flow {
namespace {

constexpr double kSigmaMin = 0.1;
constexpr std::array<double, 3> kData{-1.2, 0.3, 0.9};
constexpr int kTimes = 20;       // midpoints of [0, 1]; the theorem holds at each
constexpr int64_t kNodes = 801;  // trapezoids: of spectral accuracy for densities that vanish at both ends
constexpr double kReach = 10;

double gaussian(double x, double mean, double sigma) {
  const double z = (x - mean) / sigma;
  return std::exp(-z * z / 2) / (sigma * std::sqrt(2 * std::numbers::pi));
}

double sigma_at(double t) { return 1 - (1 - kSigmaMin) * t; }

double density(double x, double t) {
  double p = 0;
  for (const double x1 : kData) p += gaussian(x, t * x1, sigma_at(t)) / 3;
  return p;
}

// p(x) u(x) = sum over the data of p(x | x1) u(x | x1) p(x1), the conditional field being eq. 21 written out.
double marginal_velocity(double x, double t) {
  double flux = 0;
  for (const double x1 : kData) {
    flux += gaussian(x, t * x1, sigma_at(t)) / 3 * (x1 - (1 - kSigmaMin) * x) / sigma_at(t);
  }
  return flux / density(x, t);
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
at::Tensor flow_matching_loss(const at::Tensor& w) {
  Weighted q;
  for (int j = 0; j < kTimes; ++j) {
    const double t = (j + 0.5) / kTimes;
    for (int64_t i = 0; i < kNodes; ++i) {
      // Where the density underflows the field is 0/0, and of no weight.
      const double weight = density(node(i), t) * kStep / kTimes;
      if (weight < 1e-200) continue;
      q.x.push_back(node(i));
      q.t.push_back(t);
      q.target.push_back(marginal_velocity(node(i), t));
      q.weight.push_back(weight);
    }
  }
  const at::Tensor v = model(w, q.tensor(q.x), q.tensor(q.t));
  return ((v - q.tensor(q.target)).square() * q.tensor(q.weight)).sum();
}

// E over t, x1 and x0 of the code's loss at the code's path. [eq. 9, 23]
at::Tensor conditional_flow_matching_loss(const at::Tensor& w) {
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
  const PathSample sample = OtPath{kSigmaMin}.sample(q.tensor(q.x), q.tensor(x1), t);
  return (cfm_loss(model(w, sample.x_t, over_images(t, sample.x_t)), sample.u_t) * at::tensor(q.weight, at::kDouble))
      .sum();
}

TEST(TheoremTwo, BothLossesHaveTheSameGradientAndDifferByAConstant) {
  std::vector<double> differences;
  for (unsigned seed = 0; seed < 5; ++seed) {
    const at::Tensor w = tests::some_normals({6}, seed);
    const LossAndGradient marginal = with_gradient(flow_matching_loss, w);
    const LossAndGradient conditional = with_gradient(conditional_flow_matching_loss, w);
    EXPECT_LT(tests::largest_difference(marginal.gradient, conditional.gradient), 1e-6);
    EXPECT_GT(marginal.gradient.abs().min().item<double>(), 1e-3);  // or the agreement would say little
    differences.push_back(conditional.loss - marginal.loss);
  }
  // The variance of the target given x: positive, and the same whatever the weights.
  EXPECT_GT(differences[0], 0.1);
  for (const double difference : differences) EXPECT_NEAR(difference, differences[0], 1e-9);
}

// The marginal field made of the code's conditional field (eq. 8).
double velocity_of_code(double x, double t) {
  double flux = 0;
  for (const double x1 : kData) {
    const at::Tensor u = OtPath{kSigmaMin}.conditional_velocity(at::tensor({x}, at::kDouble).view({1, 1, 1, 1}),
                                                                at::tensor({x1}, at::kDouble).view({1, 1, 1, 1}),
                                                                at::tensor({t}, at::kDouble));
    flux += gaussian(x, t * x1, sigma_at(t)) / 3 * u.item<double>();
  }
  return flux / density(x, t);
}

// Central difference of fourth order.
double derivative(const std::function<double(double)>& f, double x) {
  const double h = 1e-3;
  return (8 * (f(x + h) - f(x - h)) - (f(x + 2 * h) - f(x - 2 * h))) / (12 * h);
}

TEST(TheoremOne, TheMarginalFieldSatisfiesTheContinuityEquation) {
  double largest_term = 0;
  for (const double t : {0.05, 0.3, 0.6, 0.9}) {
    for (double x = -2.5; x <= 2.5; x += 0.25) {
      const double change = derivative([&](double at) { return density(x, at); }, t);
      const double divergence = derivative([&](double at) { return density(at, t) * velocity_of_code(at, t); }, x);
      EXPECT_NEAR(change + divergence, 0, 1e-7) << "t " << t << ", x " << x;
      largest_term = std::max(largest_term, std::abs(change));
    }
  }
  EXPECT_GT(largest_term, 0.5);
}

}  // namespace
}  // namespace cfm::flow
