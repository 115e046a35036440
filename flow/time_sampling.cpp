#include "flow/time_sampling.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cassert>
#include <cmath>
#include <numeric>
#include <vector>

#include "base/number_text.h"
#include "base/philox.h"

namespace cfm::flow {
namespace {

double draw_uniform(Stream stream) {
  float q = 0;
  fill_uniform({&q, 1}, stream);
  return q;
}

double draw_normal(Stream stream) {
  float n = 0;
  fill_normal({&n, 1}, stream);
  return n;
}

// Which of the G strata each slot of a step takes: the strata in the order of keyed numbers of 64 bits.
std::vector<int64_t> strata_of_step(uint64_t seed, uint64_t images_seen, int64_t global_batch) {
  std::vector<uint32_t> words(2 * static_cast<size_t>(global_batch));
  fill_bits(words, {seed, Purpose::kStrata, images_seen});
  const auto key = [&](int64_t stratum) {
    const auto i = static_cast<size_t>(2 * stratum);
    return uint64_t{words[i]} << 32 | words[i + 1];
  };
  std::vector<int64_t> strata(static_cast<size_t>(global_batch));
  std::iota(strata.begin(), strata.end(), 0);
  std::ranges::stable_sort(strata, {}, key);
  return strata;
}

double integral_of_beta(const Path& vp, double s) { return (vp.vp_b0 + (vp.vp_b1 - vp.vp_b0) / 2 * s) * s; }

// ln(e^T(s) - 1), whose derivative is beta(s)/sigma(s)^2.
double likelihood_integral(const Path& vp, double s) { return std::log(std::expm1(integral_of_beta(vp, s))); }

double smallest_s(const Path& path) { return 1 - t_end(path); }

double likelihood_time(const Path& vp, double q) {
  const double start = likelihood_integral(vp, smallest_s(vp));
  const double target = std::log1p(std::exp(start + q * likelihood_constant(vp)));  // T(s)
  // The root of (b1 - b0) s^2/2 + b0 s = T, without a difference of near numbers.
  const double s = 2 * target / (vp.vp_b0 + std::sqrt(vp.vp_b0 * vp.vp_b0 + 2 * (vp.vp_b1 - vp.vp_b0) * target));
  return 1 - s;
}

double logistic(double x) { return 1 / (1 + std::exp(-x)); }

double draw_time(const TimeSampling& times, const Path& path, Stream stream) {
  if (times.time_sampling == "likelihood") return likelihood_time(path, draw_uniform(stream));
  if (times.time_sampling == "logit_normal") return logistic(times.logit_mean + times.logit_std * draw_normal(stream));
  if (times.time_sampling == "skewed") return std::max(1e-4, logistic(1.2 - 1.2 * draw_normal(stream)));
  return t_end(path) * draw_uniform(stream);
}

}  // namespace

Problems TimeSampling::validate(const Path& path, const std::string& objective) const {
  Problems problems;
  const std::string flag = "--time_sampling=" + time_sampling;
  const bool likelihood = time_sampling == "likelihood";
  if (time_sampling != "uniform" && time_sampling != "logit_normal" && time_sampling != "skewed" && !likelihood) {
    problems.push_back(flag +
                       ": there is no such distribution. Choose one of uniform, logit_normal, skewed, likelihood.");
  }
  if (likelihood && (path.path != "vp" || objective != "scoreflow")) {
    problems.push_back(flag + " does not go with --path=" + path.path + " --objective=" + objective +
                       ": it draws times by the weights of scoreflow on vp. Give --path=vp --objective=scoreflow, or "
                       "another --time_sampling.");
  }
  if (stratified && time_sampling != "uniform")
    problems.push_back("--stratified does not go with " + flag + ": only --time_sampling=uniform has strata.");
  if (!std::isfinite(logit_mean))
    problems.push_back("--logit_mean=" + number_text(logit_mean) + ": expected a number.");
  if (!(logit_std > 0 && std::isfinite(logit_std)))
    problems.push_back("--logit_std=" + number_text(logit_std) + ": expected a positive number.");
  return problems;
}

at::Tensor draw_times(const TimeSampling& times, const Path& path, uint64_t seed, const StepSlots& slots) {
  at::Tensor t = at::empty({slots.count}, at::kDouble);
  double* out = t.mutable_data_ptr<double>();
  std::vector<int64_t> strata;
  if (times.stratified) {
    assert(slots.first >= 0 && slots.first + slots.count <= slots.global_batch);
    strata = strata_of_step(seed, slots.images_seen, slots.global_batch);
  }
  for (int64_t i = 0; i < slots.count; ++i) {
    const Stream stream{seed, Purpose::kTime, slots.first_draw() + static_cast<uint64_t>(i)};
    if (times.stratified) {
      const auto stratum = static_cast<double>(strata[static_cast<size_t>(slots.first + i)]);
      out[i] = t_end(path) * (stratum + draw_uniform(stream)) / static_cast<double>(slots.global_batch);
    } else {
      out[i] = std::clamp(draw_time(times, path, stream), 0.0, t_end(path));
    }
  }
  return t;
}

double likelihood_constant(const Path& vp) {
  return likelihood_integral(vp, 1) - likelihood_integral(vp, smallest_s(vp));
}

}  // namespace cfm::flow
