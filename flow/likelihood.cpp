#include "flow/likelihood.h"

#include <ATen/TensorOperators.h>

#include <algorithm>
#include <cassert>
#include <cmath>
#include <numbers>

#include "base/number_text.h"
#include "flow/draws.h"
#include "flow/pixels.h"
#include "flow/solve.h"

namespace cfm::flow {
namespace {

// y of one draw, [C,H,W]; the same values in float32 and float64.
at::Tensor dequantised(const ImageDraw& draw, const LikelihoodConfig& config, c10::Device device) {
  const uint64_t id =
      static_cast<uint64_t>(draw.image) * LikelihoodConfig::kMostRepeats + static_cast<uint64_t>(draw.k);
  const at::Tensor u = keyed_uniform(config.seed, Purpose::kNllDequantise, id, 1, draw.bytes.sizes());
  return to_model_space(draw.bytes.unsqueeze(0), u)[0].to(device, config.type);
}

}  // namespace

Problems LikelihoodConfig::validate() const {
  Problems problems = ode.validate();
  for (const std::string& problem : divergence_config().validate()) problems.push_back(problem);
  if (repeats < 1 || repeats > kMostRepeats)
    problems.push_back("--repeats=" + std::to_string(repeats) + ": expected 1 to " + std::to_string(kMostRepeats) +
                       ".");
  if (net_batch < 1) problems.push_back("--net_batch=" + std::to_string(net_batch) + ": expected at least 1.");
  if (!(sigma0 > 0 && std::isfinite(sigma0)))
    problems.push_back("the prior's sigma is " + number_text(sigma0) + ", expected a positive number.");
  return problems;
}

void log_densities(const SampleVelocity& velocity, const LikelihoodConfig& config, c10::Device device,
                   const std::function<std::optional<ImageDraw>()>& next,
                   const std::function<void(const DrawDensity&)>& done) {
  check_no_problems(config.validate());
  const Queue queue{.next = [&]() -> std::optional<Start> {
                      const std::optional<ImageDraw> draw = next();
                      if (!draw) return std::nullopt;
                      return Start{config.sample_of(draw->image, draw->k), dequantised(*draw, config, device)};
                    },
                    .done =
                        [&](const Solved& solved) {
                          // From t_end to 0 the integral of div v has the opposite sign.
                          const double log_p = log_normal(solved.x, config.sigma0) + solved.integral;
                          done({solved.sample / config.repeats, solved.sample % config.repeats, log_p, solved.nfe});
                        }};
  const Field field = with_divergence(velocity, config.divergence_config());
  try {
    solve(field, config.ode, config.ode.t_end, 0, config.net_batch, queue);
  } catch (const Error& error) {
    if (config.repeats == 1) throw;
    throw Error(std::string(error.what()) + " (of --repeats=K, draw k of image i is sample i K + k)",
                error.exit_code());
  }
}

double log_normal(const at::Tensor& x, double sigma) {
  const double squares = x.to(at::kDouble).square().sum().item<double>();
  const auto dimensions = static_cast<double>(x.numel());
  return -dimensions * (std::log(sigma) + std::log(2 * std::numbers::pi) / 2) - squares / (2 * sigma * sigma);
}

double bits_per_dimension(std::span<const double> log_p, int64_t dimensions) {
  assert(!log_p.empty() && dimensions >= 1);
  constexpr double kBitsOfPixelMap = 7;
  const double largest = *std::max_element(log_p.begin(), log_p.end());
  double sum = 0;
  for (const double value : log_p) sum += std::exp(value - largest);
  const double mean = largest + std::log(sum / static_cast<double>(log_p.size()));
  return -mean / (static_cast<double>(dimensions) * std::numbers::ln2) + kBitsOfPixelMap;
}

}  // namespace cfm::flow
