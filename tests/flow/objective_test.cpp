#include "flow/objective.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linspace.h>
#include <ATen/ops/zeros_like.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "flow/convert.h"
#include "flow/ode.h"
#include "flow/sampler.h"
#include "flow/solve.h"
#include "support/flow_paths.h"
#include "support/flow_tensors.h"

namespace cfm::flow {

void PrintTo(const FlowConfig& config, std::ostream* out) { *out << config.path.path << " " << config.objective; }

namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using tests::largest_difference;
using tests::printed_alpha;
using tests::printed_sigma;
using tests::some_normals;

const std::vector<double> kTimes{0.01, 0.3, 0.7, 0.95, 0.999};
const std::vector<int64_t> kShape{5, 3, 4, 5};

FlowConfig on(const std::string& path, const std::string& objective) {
  FlowConfig config;
  config.path.path = path;
  config.objective = objective;
  return config;
}

std::vector<FlowConfig> legal_pairs() {
  std::vector<FlowConfig> pairs;
  for (const Path& path : tests::all_paths()) pairs.push_back({path, "fm"});
  for (const std::string path : {"vp", "ve"}) {
    for (const std::string objective : {"ddpm", "sm", "scoreflow"}) pairs.push_back(on(path, objective));
  }
  return pairs;
}

struct Points {
  at::Tensor noise = some_normals(kShape, 1), x1 = some_normals(kShape, 2);
  at::Tensor t = at::tensor(kTimes, at::kDouble);
  // What follows from the printed path, its derivative by differences.
  at::Tensor alpha, sigma, x, u;
  explicit Points(const Path& path) {
    std::vector<double> alphas, sigmas, alpha_rates, sigma_rates;
    for (const double time : kTimes) {
      alphas.push_back(printed_alpha(path, time));
      sigmas.push_back(printed_sigma(path, time));
      alpha_rates.push_back(tests::derivative([&](double at) { return printed_alpha(path, at); }, time, 1e-5));
      sigma_rates.push_back(tests::derivative([&](double at) { return printed_sigma(path, at); }, time, 1e-5));
    }
    const auto column = [](const std::vector<double>& values) {
      return at::tensor(values, at::kDouble).view({5, 1, 1, 1});
    };
    alpha = column(alphas);
    sigma = column(sigmas);
    x = alpha * x1 + sigma * noise;
    u = column(alpha_rates) * x1 + column(sigma_rates) * noise;
  }
};

void expect_rows_near(const at::Tensor& found, const at::Tensor& expected, double tolerance) {
  for (int64_t i = 0; i < found.size(0); ++i)
    EXPECT_LT(largest_difference(found[i], expected[i]), tolerance * expected[i].abs().max().item<double>())
        << "row " << i;
}

class EveryPair : public testing::TestWithParam<FlowConfig> {};

INSTANTIATE_TEST_SUITE_P(Pairs, EveryPair, testing::ValuesIn(legal_pairs()),
                         [](const auto& info) { return info.param.path.path + "_" + info.param.objective; });

// The output of a network that has learnt one image's path by heart.
at::Tensor perfect_output(const FlowConfig& config, const Points& p) {
  if (config.objective == "ddpm" || (config.objective == "fm" && config.path.path == "ve")) return p.noise;
  return config.objective == "fm" ? p.u : p.noise / p.sigma;
}

TEST_P(EveryPair, TheVelocityOfAPerfectOutputIsThatOfThePath) {
  const Points p(GetParam().path);
  expect_rows_near(velocity_from_output(GetParam(), p.x, perfect_output(GetParam(), p), p.t), p.u, 1e-7);
}

TEST_P(EveryPair, VelocityFromTheDataTheNoiseAndTheScoreAgree) {
  const Path& path = GetParam().path;
  const Points p(path);
  expect_rows_near(velocity_from_data(path, p.x, p.x1, p.t), p.u, 1e-7);
  expect_rows_near(velocity_from_noise(path, p.x, p.noise, p.t), p.u, 1e-7);
  expect_rows_near(velocity_from_score(path, p.x, -p.noise / p.sigma, p.t), p.u, 1e-7);
  const at::Tensor u = velocity_from_data(path, p.x, p.x1, p.t);  // without the differences' errors
  expect_rows_near(velocity_from_noise(path, p.x, p.noise, p.t), u, 1e-10);
  expect_rows_near(velocity_from_score(path, p.x, -p.noise / p.sigma, p.t), u, 1e-10);
  expect_rows_near(noise_from_velocity(path, p.x, u, p.t), p.noise, 1e-9);
  expect_rows_near(score_from_velocity(path, p.x, u, p.t), -p.noise / p.sigma, 1e-9);
  expect_rows_near(data_from_velocity(path, p.x, u, p.t), p.x1, 1e-9);
}

TEST_P(EveryPair, APerfectOutputHasNoLossAndAnotherOneHasItsSquareByTheTable) {
  const Points p(GetParam().path);
  const TrainingPoint point = training_point(GetParam(), p.noise, p.x1, p.t);
  const at::Tensor perfect = perfect_output(GetParam(), p);
  EXPECT_LT(loss(perfect, point).max().item<double>(), 1e-9);
  const at::Tensor found = loss(perfect + 0.5, point);
  for (int64_t i = 0; i < 5; ++i) {
    const double t = kTimes[static_cast<size_t>(i)], sigma = printed_sigma(GetParam().path, t), s = 1 - t;
    double expected = 0.25;
    if (GetParam().objective == "sm" || GetParam().objective == "scoreflow") expected *= sigma * sigma;
    if (GetParam().objective == "scoreflow") {
      const double lambda =
          GetParam().path.path == "vp"
              ? 0.1 + 19.9 * s
              : tests::derivative([&](double at) { return std::pow(0.02 * std::pow(5000, at), 2); }, s, 1e-4);
      expected *= lambda / (sigma * sigma);
    }
    EXPECT_NEAR(found[i].item<double>() / expected, 1, 1e-6) << t;
  }
}

TEST_P(EveryPair, TheNetworkSeesThePointOfThePath) {
  const Points p(GetParam().path);
  const TrainingPoint point = training_point(GetParam(), p.noise, p.x1, p.t);
  const at::Tensor seen = GetParam().path.path == "ve" ? p.x / (p.sigma.square() + 0.25).sqrt() : p.x;
  EXPECT_LT(largest_difference(point.input, seen), 1e-12);
  EXPECT_EQ(largest_difference(point.t, p.t), 0);
  const TrainingPoint single = training_point(GetParam(), p.noise.to(at::kFloat), p.x1.to(at::kFloat), p.t);
  EXPECT_EQ(single.input.scalar_type(), at::kFloat);
  EXPECT_EQ(single.t.scalar_type(), at::kFloat);
  EXPECT_LT(largest_difference(single.input, seen), 1e-5);
}

// Data N(0, w^2): the marginal is N(0, alpha^2 w^2 + sigma^2) and the best output of each objective a multiple of x.
constexpr double kWidth = 0.4;

double marginal_variance(const Path& path, double t) {
  return std::pow(printed_alpha(path, t) * kWidth, 2) + std::pow(printed_sigma(path, t), 2);
}

// Best output at x: a factor that depends on t. E[epsilon | x] = sigma x/variance, E[u | x] = (variance'/2) x/variance.
Network best_network(const FlowConfig& config) {
  return [config](const at::Tensor& seen, const at::Tensor& t) {
    std::vector<double> factors;
    for (int64_t i = 0; i < t.size(0); ++i) {
      const double at = t[i].item<double>(), variance = marginal_variance(config.path, at);
      const double sigma = printed_sigma(config.path, at);
      const double h = std::min(1e-5, (1 - at) / 4);
      const double half_rate =
          h > 0 ? tests::derivative([&](double time) { return marginal_variance(config.path, time); }, at, h) / 2 : 0;
      double factor = half_rate / variance;
      if (config.objective == "ddpm" || config.path.path == "ve") factor = sigma / variance;
      if (config.objective == "sm" || config.objective == "scoreflow") factor = 1 / variance;
      if (config.path.path == "ve") factor *= std::sqrt(sigma * sigma + 0.25);  // it sees x/sqrt(sigma^2 + 1/4)
      factors.push_back(factor);
    }
    return seen * factor_of(at::tensor(factors, at::kDouble), seen);
  };
}

TEST_P(EveryPair, TheFlowOfTheBestNetworkCarriesThePriorToGaussianData) {
  const Path& path = GetParam().path;
  const at::Tensor x0 = some_normals({4, 1, 2, 3}, 5) * sigma0(path);
  const double end = t_end(path);
  std::vector<double> times;
  for (int i = 0; i <= 4000; ++i) times.push_back(end * (1 - std::pow(1 - i / 4000.0, 2)));
  const at::Tensor found = integrate_fixed(velocity_of(GetParam(), best_network(GetParam())), x0, kMidpoint, times).x;
  const double stretch = std::sqrt(marginal_variance(path, end) / marginal_variance(path, 0));
  EXPECT_LT(largest_difference(found, x0 * stretch), 2e-5 * x0.abs().max().item<double>() * stretch);
  EXPECT_NEAR(stretch * sigma0(path), kWidth, 2e-3);  // the prior is that of the marginal at 0, nearly
}

TEST_P(EveryPair, SamplesOfTheBestNetworkAreImagesOfTheData) {
  const Path& path = GetParam().path;
  const SampleConfig sampling{
      .ode = {"midpoint", 100, "warped", t_end(path)}, .net_batch = 50, .seed = 3, .sigma0 = sigma0(path)};
  const SampleVelocity velocity = [v = velocity_of(GetParam(), best_network(GetParam()))](
                                      const at::Tensor& x, const at::Tensor& t, auto) { return v(x, t); };
  const at::Tensor images = sample_images(velocity, sampling, 0, 100, {1, 8, 8}, at::kCPU).to(at::kDouble);
  const at::Tensor y = (images + 0.5) / 128 - 1;
  EXPECT_NEAR(y.mean().item<double>(), 0, 4 * kWidth / 80);
  // The standard deviation of N(0, 0.4^2) cut at 1 is 0.397.
  EXPECT_NEAR(y.std().item<double>(), 0.397, 4 * kWidth / 80 / std::sqrt(2));
}

TEST_P(EveryPair, TheVelocityIsInTheTypeOfXAndHasAGradient) {
  const Points p(GetParam().path);
  const Velocity v = velocity_of(GetParam(), [](const at::Tensor& x, const at::Tensor& t) {
    EXPECT_EQ(t.scalar_type(), x.scalar_type());
    return x.sin() + over_images(t, x);
  });
  const at::Tensor wide = v(p.x, p.t), single = v(p.x.to(at::kFloat), p.t);
  EXPECT_EQ(wide.scalar_type(), at::kDouble);
  EXPECT_EQ(single.scalar_type(), at::kFloat);
  expect_rows_near(single, wide, 1e-6);
  const at::Tensor x = p.x.detach().clone().requires_grad_(true);
  v(x, p.t).sum().backward();
  const double h = 1e-5;
  expect_rows_near(x.grad(), (v(p.x + h, p.t) - v(p.x - h, p.t)) / (2 * h), 1e-5);
}

// Factors of the noise grow like 1/sqrt(1 - t) there, and a t of three digits would make them rough.
TEST(Objective, KeepsTheDigitsOfAFloat32DiffusionAtTheData) {
  for (const std::string path : {"vp", "ve"}) {
    for (const std::string objective : {"ddpm", "sm", "scoreflow"}) {
      const FlowConfig config = on(path, objective);
      const at::Tensor x = some_normals({3, 1, 2, 2}, 8);
      const at::Tensor t = at::tensor(std::vector<double>{1 - 1e-5, 1 - 1.2e-5, 1 - 1e-4}, at::kDouble);
      const Velocity v = velocity_of(config, [](const at::Tensor& seen, const at::Tensor&) { return seen.cos(); });
      expect_rows_near(v(x.to(at::kFloat), t), v(x, t), 1e-6);
    }
  }
}

TEST(Objective, ADiffusionInFloat32TakesNoMoreEvaluationsThanInFloat64) {
  const FlowConfig config = on("vp", "ddpm");
  const Velocity v = velocity_of(config, [](const at::Tensor& seen, const at::Tensor& t) {
    return seen.sin() * (1 + factor_of(t, seen)) / 2;  // a network is smooth in t
  });
  const auto evaluations = [&](at::ScalarType type) {
    int64_t nfe = 0, asked = 0;
    const Field field{[&](const flow::Points& points, bool) { return Slope{v(points.x, points.t), {}}; }};
    const OdeConfig ode{.solver = kAdaptiveSolver, .t_end = t_end(config.path), .atol = 1e-6, .rtol = 1e-6};
    solve(field, ode, ode.t_end, 0, 1,
          {.next = [&]() -> std::optional<Start> {
             if (asked++ > 0) return std::nullopt;
             return Start{0, some_normals({3, 8, 8}, 4).to(type)};
           },
           .done = [&](const Solved& solved) { nfe = solved.nfe; }});
    return static_cast<double>(nfe);
  };
  const double wide = evaluations(at::kDouble);
  EXPECT_GT(wide, 50);
  EXPECT_LE(evaluations(at::kFloat), 1.05 * wide);
}

TEST(Objective, RefusesPairsThatDoNotGoTogetherWithTheLegalChoices) {
  for (const FlowConfig& config : legal_pairs()) EXPECT_TRUE(config.validate().empty());
  for (const std::string path : {"ot", "cosine", "polynomial"}) {
    for (const std::string objective : {"ddpm", "sm", "scoreflow"}) {
      EXPECT_THAT(on(path, objective).validate(),
                  ElementsAre(AllOf(HasSubstr("--objective=" + objective), HasSubstr("--path=" + path),
                                    HasSubstr("--path=vp or --path=ve"), HasSubstr("--objective=fm"))));
      EXPECT_THROW(flow_config_from(path, path_parameters(on(path, objective).path), objective), Error);
    }
  }
  EXPECT_THAT(on("ot", "mse").validate(),
              ElementsAre(AllOf(HasSubstr("--objective=mse"), HasSubstr("fm, ddpm, sm, scoreflow"))));
}

TEST(Loss, IsTheMeanSquareOverASample) {
  const at::Tensor v = some_normals(kShape, 3), u = some_normals(kShape, 4);
  const at::Tensor of_sample = loss(v, {.input = v, .t = {}, .target = u, .scale = {}, .weight = {}});
  ASSERT_EQ(of_sample.sizes(), at::IntArrayRef{5});
  const double* v_at = v.const_data_ptr<double>();
  const double* u_at = u.const_data_ptr<double>();
  for (int64_t i = 0; i < 5; ++i) {
    double sum = 0;
    for (int64_t j = 60 * i; j < 60 * (i + 1); ++j) sum += (v_at[j] - u_at[j]) * (v_at[j] - u_at[j]);
    EXPECT_NEAR(of_sample[i].item<double>(), sum / 60, 1e-14);
  }
}

TEST(Loss, IsAtLeastFloat32AndItsGradientIsThatOfTheMean) {
  const at::Tensor u = some_normals(kShape, 4).to(at::kFloat);
  const at::Tensor v = some_normals(kShape, 3).to(at::kBFloat16).requires_grad_(true);
  const at::Tensor of_sample = loss(v, {.input = v, .t = {}, .target = u, .scale = {}, .weight = {}});
  EXPECT_EQ(of_sample.scalar_type(), at::kFloat);
  of_sample.sum().backward();
  EXPECT_LT(largest_difference(v.grad(), (v.detach().to(at::kDouble) - u) * (2.0 / 60)), 1e-3);
}

TEST(Loss, RefusesAnOutputOfAnotherShape) {
  const TrainingPoint point{.input = {}, .t = {}, .target = some_normals(kShape, 4), .scale = {}, .weight = {}};
  EXPECT_THROW(loss(some_normals({5, 3, 4, 1}, 3), point), Error);
}

// A network that says c t: the loss at s is (beta/sigma^2) E(sigma c t - epsilon)^2 = (beta/sigma^2) ((sigma c t)^2 +
// 1).
TEST(ScoreFlow, LikelihoodTimesGiveTheLossOfUniformTimes) {
  const FlowConfig config = on("vp", "scoreflow");
  const double c = 3, smallest = 1e-5;
  double expected = 0;  // the integral over s, in ln s
  const int nodes = 200000;
  const double step = -std::log(smallest) / nodes;
  for (int i = 0; i < nodes; ++i) {
    const double s = smallest * std::exp((i + 0.5) * step), sigma = printed_sigma(config.path, 1 - s);
    expected += (0.1 + 19.9 * s) / (sigma * sigma) * (std::pow(sigma * c * (1 - s), 2) + 1) * s * step;
  }
  const auto mean_and_error = [&](const TimeSampling& times) {
    const int64_t n = 200000;
    const at::Tensor t =
        draw_times(times, config.path, 11, {.images_seen = 0, .global_batch = n, .first = 0, .count = n});
    const at::Tensor noise = some_normals({n, 1, 1, 4}, 12), x1 = at::zeros_like(noise);
    const at::Tensor F = at::zeros_like(noise) + over_images(c * t, noise);
    const at::Tensor losses = loss(F, training_point(config, noise, x1, t, times));
    return std::pair(losses.mean().item<double>(), losses.std().item<double>() / std::sqrt(n));
  };
  const auto [likelihood, error] = mean_and_error({.time_sampling = "likelihood"});
  EXPECT_NEAR(likelihood, expected, 4 * error);
  EXPECT_LT(error, 0.005 * expected);
  // Uniform times on an interval of length 1 - 1e-5. Their weights are wild: the same mean, an error many times larger.
  const auto [uniform, uniform_error] = mean_and_error({.time_sampling = "uniform", .stratified = true});
  EXPECT_NEAR(uniform * (1 - smallest), expected, 4 * uniform_error);
  EXPECT_GT(uniform_error, 5 * error);
}

}  // namespace
}  // namespace cfm::flow
