#pragma once
// How the times of training samples are drawn.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "base/error.h"
#include "flow/path.h"

namespace cfm::flow {

// With q ~ U[0,1) and n ~ N(0,1) of the sample's draw:
//   uniform       t = t_end q
//                 Stratified: slot j of a global batch of G has q in [k, k + 1)/G, each k once, in an order that is
//                 keyed by the step
//   logit_normal  t = 1/(1 + exp(-(logit_mean + logit_std n)))
//   skewed        t = 1/(1 + exp(1.2 n - 1.2)), at least 1e-4: EDM's noise levels, as facebookresearch/flow_matching
//                 draws them
//   likelihood    s = 1 - t on [1e-5, 1] with density in proportion to beta(s)/sigma^2 (vp and scoreflow)
// All end at t_end(path).
struct TimeSampling {
  std::string time_sampling = "uniform";
  bool stratified = false;
  double logit_mean = 0, logit_std = 1;
  // Of these alone, and of these with a path and an objective.
  Problems validate(const Path& path, const std::string& objective) const;
};

// Slots first .. first + count - 1 of the step that begins at images_seen, of global_batch slots.
struct StepSlots {
  uint64_t images_seen = 0;
  int64_t global_batch = 0;  // counts for stratified times only
  int64_t first = 0, count = 0;
  uint64_t first_draw() const { return images_seen + static_cast<uint64_t>(first); }
};

// float64 [count] on the CPU, in [0, t_end(path)].
at::Tensor draw_times(const TimeSampling& times, const Path& path, uint64_t seed, const StepSlots& slots);

// The integral of beta(s)/sigma(s)^2 over s in [1e-5, 1]: L(1) - L(1e-5), L(s) = ln(e^T(s) - 1).
double likelihood_constant(const Path& vp);

}  // namespace cfm::flow
