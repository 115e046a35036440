#include "flow/path.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "flow/ode.h"
#include "support/flow_paths.h"
#include "support/flow_tensors.h"

namespace cfm::flow {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using tests::largest_difference;
using tests::some_normals;

const std::vector<int64_t> kShape{6, 3, 4, 5};
const std::vector<double> kTimes{0.01, 0.2, 0.4, 0.7, 0.95, 0.999};

struct Points {
  at::Tensor x0 = some_normals(kShape, 1), x1 = some_normals(kShape, 2);
  at::Tensor t = at::tensor(kTimes, at::kDouble);
};

Path ot(double sigma_min) { return {.path = "ot", .sigma_min = sigma_min}; }

class EveryPath : public testing::TestWithParam<Path> {};

INSTANTIATE_TEST_SUITE_P(Paths, EveryPath, testing::ValuesIn(tests::all_paths()),
                         [](const auto& info) { return info.param.path; });

TEST_P(EveryPath, IsAsPrinted) {
  const Coefficients found = coefficients(GetParam(), Points().t);
  for (size_t i = 0; i < kTimes.size(); ++i) {
    const auto row = static_cast<int64_t>(i);
    EXPECT_NEAR(found.alpha[row].item<double>() / tests::printed_alpha(GetParam(), kTimes[i]), 1, 1e-12);
    EXPECT_NEAR(found.sigma[row].item<double>() / tests::printed_sigma(GetParam(), kTimes[i]), 1, 1e-12);
  }
}

TEST_P(EveryPath, HasAVelocityThatIsItsTimeDerivative) {
  const Points p;
  const double h = 2e-5;
  const auto at_time = [&](double shift) { return sample_path(GetParam(), p.x0, p.x1, p.t + shift).x_t; };
  const at::Tensor slope = (8 * (at_time(h) - at_time(-h)) - (at_time(2 * h) - at_time(-2 * h))) / (12 * h);
  const at::Tensor u = sample_path(GetParam(), p.x0, p.x1, p.t).u_t;
  for (int64_t i = 0; i < 6; ++i)
    EXPECT_LT(largest_difference(slope[i], u[i]), 1e-7 * u[i].abs().max().item<double>())
        << kTimes[static_cast<size_t>(i)];
}

TEST_P(EveryPath, HasAFieldThatIsTheVelocityAtEachOfItsPoints) {
  const Points p;
  const PathSample sample = sample_path(GetParam(), p.x0, p.x1, p.t);
  const at::Tensor u = conditional_velocity(GetParam(), sample.x_t, p.x1, p.t);
  EXPECT_LT(largest_difference(u, sample.u_t), 1e-10 * sample.u_t.abs().max().item<double>());
}

TEST_P(EveryPath, BeginsAtItsPriorAndEndsAtTheData) {
  const Points p;
  const double sigma = sigma0(GetParam());
  const at::Tensor start = sample_path(GetParam(), p.x0, p.x1, at::zeros({6}, at::kDouble)).x_t / sigma;
  const at::Tensor data_left = GetParam().path == "ve" ? p.x1 / sigma : p.x1 * 7e-3;  // at most
  EXPECT_LT(largest_difference(start, p.x0), 1.1 * data_left.abs().max().item<double>());
  const at::Tensor end = sample_path(GetParam(), p.x0, p.x1, at::full({6}, t_end(GetParam()), at::kDouble)).x_t;
  EXPECT_LT(largest_difference(end, p.x1), GetParam().path == "ve" ? 0.1 : 5e-3);
}

TEST_P(EveryPath, ComputesInTheTypeOfTheImages) {
  const Points p;
  const PathSample sample = sample_path(GetParam(), p.x0.to(at::kFloat), p.x1.to(at::kFloat), p.t);
  EXPECT_EQ(sample.x_t.scalar_type(), at::kFloat);
  EXPECT_EQ(sample.u_t.scalar_type(), at::kFloat);
  const PathSample wide = sample_path(GetParam(), p.x0, p.x1, p.t);
  EXPECT_LT(largest_difference(sample.x_t, wide.x_t), 2e-7 * wide.x_t.abs().max().item<double>());
  EXPECT_LT(largest_difference(sample.u_t, wide.u_t), 2e-7 * wide.u_t.abs().max().item<double>());
}

TEST_P(EveryPath, ComesBackFromItsParameters) {
  Path path = GetParam();
  path.vp_b1 = 17;
  path.ve_smax = 33.3;
  path.polynomial_n = 2.5;
  path.sigma_min = 1e-7;
  const Path back = path_from(path.path, path_parameters(path));
  EXPECT_EQ(path_parameters(back), path_parameters(path));
  const Points p;
  EXPECT_EQ(largest_difference(coefficients(back, p.t).sigma, coefficients(path, p.t).sigma), 0);
}

TEST(OtPath, Equation21IsEquation23AtTheSample) {
  const Points p;
  for (const double sigma_min : {1e-5, 0.1}) {
    const at::Tensor t = over_images(p.t, p.x1);
    const at::Tensor x = (1 - (1 - sigma_min) * t) * p.x0 + t * p.x1;                   // eq. 22
    const at::Tensor eq_21 = (p.x1 - (1 - sigma_min) * x) / (1 - (1 - sigma_min) * t);  // at x
    const at::Tensor eq_23 = p.x1 - (1 - sigma_min) * p.x0;                             // from the sample
    EXPECT_LT(largest_difference(eq_21, eq_23), 1e-11);
    EXPECT_LT(largest_difference(conditional_velocity(ot(sigma_min), x, p.x1, p.t), eq_21), 1e-11);
    EXPECT_LT(largest_difference(sample_path(ot(sigma_min), p.x0, p.x1, p.t).u_t, eq_23), 1e-14);
  }
}

TEST(OtPath, BeginsAtTheNoiseAndEndsAtTheDataPlusSigmaMinNoise) {
  const Points p;
  EXPECT_EQ(largest_difference(sample_path(ot(0.1), p.x0, p.x1, at::zeros({6}, at::kDouble)).x_t, p.x0), 0);
  const at::Tensor end = sample_path(ot(0.1), p.x0, p.x1, at::full({6}, 1.0, at::kDouble)).x_t;
  EXPECT_LT(largest_difference(end, p.x1 + p.x0 * 0.1), 1e-15);
}

TEST(OtPath, OneEulerStepOfTheConditionalFieldEndsAtTheDataPlusSigmaMinNoise) {
  const Points p;
  const Velocity v = [&](const at::Tensor& x, const at::Tensor& t) {
    return conditional_velocity(ot(0.1), x, p.x1, t);
  };
  EXPECT_LT(largest_difference(integrate_fixed(v, p.x0, kEuler, {0, 1}).x, p.x1 + p.x0 * 0.1), 1e-14);
}

// The diffusion's field as the paper prints it, with T'(s) = beta(s). [eq. 19]
TEST(VpPath, TheFieldIsEquation19) {
  const Points p;
  const Path path{.path = "vp"};
  const at::Tensor s = over_images(1 - p.t, p.x1);
  const at::Tensor integral = s * 0.1 + s.square() * (19.9 / 2), beta = 0.1 + 19.9 * s;
  const at::Tensor x = some_normals(kShape, 7);
  const at::Tensor printed =
      -(beta / 2) * ((-integral).exp() * x - (integral / -2).exp() * p.x1) / (1 - (-integral).exp());
  const at::Tensor found = conditional_velocity(path, x, p.x1, p.t);
  EXPECT_LT(largest_difference(found, printed), 1e-9 * printed.abs().max().item<double>());
}

TEST(VpPath, HasTheEndsThatFollowFromItsConstants) {
  const Coefficients at = coefficients({.path = "vp"}, at::tensor({0.0, 1 - 1e-5}, at::kDouble));
  EXPECT_NEAR(at.alpha[0].item<double>(), 6.5716e-3, 1e-7);
  EXPECT_NEAR(1 - at.sigma[0].item<double>(), 2.16e-5, 1e-7);
  EXPECT_NEAR(at.sigma[1].item<double>(), 1.0005e-3, 1e-7);
  EXPECT_NEAR(-at.sigma_rate[1].item<double>(), 50.07, 0.01);  // (beta/2) alpha^2/sigma
}

TEST(VpPath, KeepsItsDigitsNearTheData) {
  for (const double s : {1e-5, 1e-4, 1e-3}) {
    const double integral = 0.1 * s + 19.9 * s * s / 2;
    const double series = integral - integral * integral / 2 + integral * integral * integral / 6;  // 1 - e^-T
    const Coefficients at = coefficients({.path = "vp"}, at::tensor({1 - s}, at::kDouble));
    EXPECT_NEAR(at.sigma.item<double>() / std::sqrt(series), 1, 1e-10) << s;
  }
}

TEST(VePath, TheFieldIsEquation17) {
  const Points p;
  const at::Tensor x = some_normals(kShape, 7);
  const double rate = std::log(100 / 0.02);  // sigma'(s)/sigma(s)
  EXPECT_LT(largest_difference(conditional_velocity({.path = "ve"}, x, p.x1, p.t), -rate * (x - p.x1)), 1e-11);
}

TEST(Path, SaysWhereItEndsAndHowWideItsPriorIs) {
  for (const Path& path : tests::all_paths()) {
    const bool diffusion = path.path == "vp" || path.path == "ve";
    EXPECT_EQ(t_end(path), diffusion ? 1 - 1e-5 : 1) << path.path;
    EXPECT_EQ(sigma0(path), path.path == "ve" ? 100 : 1) << path.path;
  }
}

TEST(Path, RefusesWhatIsNotAPathAndNumbersThatMakeNone) {
  for (const Path& path : tests::all_paths()) EXPECT_TRUE(path.validate().empty());
  EXPECT_TRUE(ot(0).validate().empty());
  for (const double sigma_min : {-1e-9, 1.0, std::nan("")})
    EXPECT_THAT(ot(sigma_min).validate(), testing::ElementsAre(HasSubstr("--sigma_min")));
  EXPECT_THAT((Path{.path = "straight"}.validate()),
              testing::ElementsAre(AllOf(HasSubstr("--path=straight"), HasSubstr("ot, vp, ve, cosine, polynomial"))));
  EXPECT_THAT((Path{.vp_b0 = 3, .vp_b1 = 2}.validate()), testing::ElementsAre(HasSubstr("--vp_b0=3 --vp_b1=2")));
  EXPECT_THAT((Path{.ve_smin = 0}.validate()), testing::ElementsAre(HasSubstr("--ve_smin=0")));
  EXPECT_THAT((Path{.polynomial_n = 0.5}.validate()), testing::ElementsAre(HasSubstr("--polynomial_n=0.5")));
}

TEST(Path, RefusesParametersThatAreMissingOrNoNumbers) {
  EXPECT_THAT([] { path_from("bridge", {}); }, testing::ThrowsMessage<Error>(HasSubstr("bridge")));
  EXPECT_THAT([] { path_from("ot", {}); }, testing::ThrowsMessage<Error>(HasSubstr("no 'sigma_min'")));
  EXPECT_THAT(
      [] {
        path_from("ve", {{"ve_smin", "0.1"}, {"ve_smax", "wide"}});
      },
      testing::ThrowsMessage<Error>(AllOf(HasSubstr("ve_smax"), HasSubstr("wide"))));
  EXPECT_THAT([] { path_from("ot", {{"sigma_min", "2"}}); }, testing::ThrowsMessage<Error>(HasSubstr("sigma_min=2")));
}

TEST(Path, RefusesTensorsThatDoNotFitTogether) {
  const Points p;
  EXPECT_THAT([&] { sample_path(ot(0), p.x0.narrow(0, 0, 1), p.x1, p.t); },
              testing::ThrowsMessage<Error>(AllOf(HasSubstr("x0"), HasSubstr("[1,3,4,5]"), HasSubstr("[6,3,4,5]"))));
  EXPECT_THAT([&] { sample_path(ot(0), p.x0, p.x1, p.t.narrow(0, 0, 1)); },
              testing::ThrowsMessage<Error>(HasSubstr("t has")));
}

}  // namespace
}  // namespace cfm::flow
