#pragma once
// What a network is trained to say, and what its output then means.

#include <ATen/core/Tensor.h>

#include <functional>
#include <map>
#include <string>

#include "base/error.h"
#include "flow/path.h"
#include "flow/time_sampling.h"
#include "flow/velocity.h"

namespace cfm::flow {

// A path, and what F, the raw output of the network, is on it. With epsilon-hat a noise estimate and S the score:
//   fm         F = v; with ve, F = epsilon-hat and v = sigma' F, for E|u|^2 would be 1e4 and come from s > 0.5 alone
//   ddpm       F = epsilon-hat
//   sm         F = -S, epsilon-hat = sigma F
//   scoreflow  as sm, its loss weighted by the likelihood's lambda(t)/sigma^2
// [arXiv:2210.02747v2 eq. 41-45; the score it prints has the other sign]
struct FlowConfig {
  Path path;
  std::string objective = "fm";
  // The path's problems, an unknown objective, a pair that does not go together.
  Problems validate() const;
};

// The same from a weights file's words for it. Throws Error for what validate() refuses.
FlowConfig flow_config_from(const std::string& path, const std::map<std::string, std::string>& parameters,
                            const std::string& objective);

// What the network sees at t [B], what is compared with what comes out, and how much it counts.
struct TrainingPoint {
  at::Tensor input;   // [B,C,H,W]: x_t; with ve x_t/sqrt(sigma^2 + 1/4)
  at::Tensor t;       // [B], in input's dtype
  at::Tensor target;  // [B,C,H,W]: u_t or epsilon
  at::Tensor scale;   // [B] factor of F before it is compared: sigma for sm and scoreflow; undefined: 1
  at::Tensor weight;  // [B] factor of a sample's loss; undefined: 1
};

// x0, x1: [B,C,H,W]; t: [B], float64. `times`: how t was drawn. With likelihood times scoreflow's weight is the
// constant that makes the loss that of uniform times.
TrainingPoint training_point(const FlowConfig& config, const at::Tensor& x0, const at::Tensor& x1, const at::Tensor& t,
                             const TimeSampling& times = {});

// weight * mean over C*H*W of (scale F - target)^2: [B], float32 or wider whatever F's dtype. [eq. 9, 41-45]
at::Tensor loss(const at::Tensor& F, const TrainingPoint& point);

// F(x, t) of a network whose labels are bound: x [B,C,H,W] as the network wants it, t [B] in x's dtype.
using Network = std::function<at::Tensor(const at::Tensor& x, const at::Tensor& t)>;

// The velocity of the flow that the network was trained for, for 0 <= t <= t_end(config.path): in x's dtype (float32 or
// float64), coefficients from t in float64, which near the data decide how far an adaptive solver gets; differentiable
// in x. One call of the network a call.
Velocity velocity_of(const FlowConfig& config, const Network& network);

// The velocity that goes with F at x and t, elementwise. x, F: [B,C,H,W]; t: [B].
at::Tensor velocity_from_output(const FlowConfig& config, const at::Tensor& x, const at::Tensor& F,
                                const at::Tensor& t);

// x as the network sees it at t.
at::Tensor network_input(const Path& path, const at::Tensor& x, const at::Tensor& t);

}  // namespace cfm::flow
