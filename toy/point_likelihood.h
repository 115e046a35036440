#pragma once
// log p of points under a flow, by the exact divergence. [arXiv:2210.02747v2 app. C, eq. 31-35 with the trace itself]

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "flow/ode.h"
#include "flow/velocity.h"

namespace cfm::toy {

struct PointDensity {
  double log_p;  // in nats
  int64_t nfe;   // evaluations of v, each with its divergence
};

// Of each of points [N,D] at ode.t_end, by the solution back to t = 0, where the prior is N(0, sigma0^2 I).
std::vector<PointDensity> point_densities(const flow::SampleVelocity& velocity, const flow::OdeConfig& ode,
                                          double sigma0, int64_t net_batch, const at::Tensor& points);

}  // namespace cfm::toy
