#include "flow/path.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "flow/ode.h"
#include "support/flow_tensors.h"

namespace cfm::flow {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using tests::largest_difference;
using tests::some_normals;

const std::vector<int64_t> kShape{6, 3, 4, 5};

struct Points {
  at::Tensor x0 = some_normals(kShape, 1), x1 = some_normals(kShape, 2);
  at::Tensor t = at::tensor(std::vector<double>{0.01, 0.2, 0.4, 0.7, 0.95, 0.999}, at::kDouble);
};

TEST(OtPath, VelocityIsTheTimeDerivativeOfThePath) {
  const Points p;
  for (const double sigma_min : {0.0, 1e-5, 0.1}) {
    const OtPath path{sigma_min};
    const double h = 1e-4;
    const at::Tensor ahead = path.sample(p.x0, p.x1, p.t + h).x_t, behind = path.sample(p.x0, p.x1, p.t - h).x_t;
    EXPECT_LT(largest_difference((ahead - behind) / (2 * h), path.sample(p.x0, p.x1, p.t).u_t), 1e-10);
  }
}

TEST(OtPath, BeginsAtTheNoiseAndEndsAtTheDataPlusSigmaMinNoise) {
  const Points p;
  const OtPath path{0.1};
  EXPECT_EQ(largest_difference(path.sample(p.x0, p.x1, at::zeros({6}, at::kDouble)).x_t, p.x0), 0);
  const at::Tensor end = path.sample(p.x0, p.x1, at::full({6}, 1.0, at::kDouble)).x_t;
  EXPECT_LT(largest_difference(end, p.x1 + p.x0 * 0.1), 1e-15);
}

TEST(OtPath, TheFieldAtAPointOfThePathIsTheTargetThere) {
  const Points p;
  for (const double sigma_min : {1e-5, 0.1}) {
    const OtPath path{sigma_min};
    const PathSample sample = path.sample(p.x0, p.x1, p.t);
    EXPECT_LT(largest_difference(path.conditional_velocity(sample.x_t, p.x1, p.t), sample.u_t), 1e-11);
  }
}

TEST(OtPath, OneEulerStepOfTheConditionalFieldEndsAtTheDataPlusSigmaMinNoise) {
  const Points p;
  const OtPath path{0.1};
  const Velocity v = [&](const at::Tensor& x, const at::Tensor& t) { return path.conditional_velocity(x, p.x1, t); };
  EXPECT_LT(largest_difference(integrate_fixed(v, p.x0, kEuler, {0, 1}).x, p.x1 + p.x0 * 0.1), 1e-14);
}

TEST(OtPath, ComputesInTheTypeOfTheImages) {
  const Points p;
  const PathSample sample = OtPath{}.sample(p.x0.to(at::kFloat), p.x1.to(at::kFloat), p.t.to(at::kFloat));
  EXPECT_EQ(sample.x_t.scalar_type(), at::kFloat);
  EXPECT_EQ(sample.u_t.scalar_type(), at::kFloat);
  const PathSample wide = OtPath{}.sample(p.x0, p.x1, p.t);
  EXPECT_LT(largest_difference(sample.x_t, wide.x_t), 1e-6);
  EXPECT_LT(largest_difference(sample.u_t, wide.u_t), 1e-6);
}

TEST(OtPath, RefusesWhatIsNotAWidthAndWhatDoesNotFitTogether) {
  EXPECT_TRUE(OtPath{0}.validate().empty());
  for (const double sigma_min : {-1e-9, 1.0, std::nan("")}) {
    ASSERT_EQ(OtPath{sigma_min}.validate().size(), 1U);
    EXPECT_THAT(OtPath{sigma_min}.validate()[0], HasSubstr("--sigma_min"));
  }
  const Points p;
  EXPECT_THAT([&] { OtPath{}.sample(p.x0.narrow(0, 0, 1), p.x1, p.t); },
              testing::ThrowsMessage<Error>(AllOf(HasSubstr("x0"), HasSubstr("[1,3,4,5]"), HasSubstr("[6,3,4,5]"))));
  EXPECT_THAT([&] { OtPath{}.sample(p.x0, p.x1, p.t.narrow(0, 0, 1)); },
              testing::ThrowsMessage<Error>(HasSubstr("t has")));
}

TEST(CfmLoss, IsTheMeanSquareOverASample) {
  const at::Tensor v = some_normals(kShape, 3), u = some_normals(kShape, 4);
  const at::Tensor loss = cfm_loss(v, u);
  ASSERT_EQ(loss.sizes(), at::IntArrayRef{6});
  const double* v_at = v.const_data_ptr<double>();
  const double* u_at = u.const_data_ptr<double>();
  for (int64_t i = 0; i < 6; ++i) {
    double sum = 0;
    for (int64_t j = 60 * i; j < 60 * (i + 1); ++j) sum += (v_at[j] - u_at[j]) * (v_at[j] - u_at[j]);
    EXPECT_NEAR(loss[i].item<double>(), sum / 60, 1e-14);
  }
}

TEST(CfmLoss, IsAtLeastFloat32AndItsGradientIsThatOfTheMean) {
  const at::Tensor u = some_normals(kShape, 4).to(at::kFloat);
  const at::Tensor v = some_normals(kShape, 3).to(at::kBFloat16).requires_grad_(true);
  const at::Tensor loss = cfm_loss(v, u);
  EXPECT_EQ(loss.scalar_type(), at::kFloat);
  loss.sum().backward();
  EXPECT_LT(largest_difference(v.grad(), (v.detach().to(at::kDouble) - u) * (2.0 / 60)), 1e-3);
}

TEST(CfmLoss, RefusesAVelocityOfAnotherShape) {
  EXPECT_THROW(cfm_loss(some_normals({6, 3, 4, 1}, 3), some_normals(kShape, 4)), Error);
}

}  // namespace
}  // namespace cfm::flow
