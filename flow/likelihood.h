#pragma once
// log p of dequantised images under a flow, and bits per dimension. [arXiv:2210.02747v2 app. C]
//   y = (x + u)/128 - 1 stands at t_end;  log p(y) = log N(x(0); 0, sigma0^2 I) - integral_0^t_end div v(x(t), t) dt,
// along the solution from y back to t = 0.

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <span>

#include "base/error.h"
#include "flow/divergence.h"
#include "flow/ode.h"
#include "flow/velocity.h"

namespace cfm::flow {

struct LikelihoodConfig {
  OdeConfig ode = {.solver = kAdaptiveSolver};  // its t_end is the path's
  double sigma0 = 1;                            // of the prior N(0, sigma0^2 I) at t = 0
  std::string divergence = "rademacher";        // flow/divergence.h
  int64_t probes = 1;
  int64_t repeats = 1;  // K: dequantisations an image; they share its probes
  uint64_t seed = 0;
  int64_t net_batch = 64;
  at::ScalarType type = at::kFloat;  // of the state and of what the network sees; integrals and sums are float64

  static constexpr int64_t kMostRepeats = 1 << 16;
  DivergenceConfig divergence_config() const { return {divergence, probes, seed, repeats}; }
  // Which sample of flow/solve.h draw k of an image is.
  int64_t sample_of(int64_t image, int64_t k) const { return image * repeats + k; }
  Problems validate() const;
};

// Draw k of an image: its bytes, uint8 [C,H,W] on the CPU.
struct ImageDraw {
  int64_t image, k;
  at::Tensor bytes;
};

struct DrawDensity {
  int64_t image, k;
  double log_p;  // of y, in nats
  int64_t nfe;   // evaluations of v
};

// log p of every draw that `next` hands out, as they finish. The dequantisation is the stream (seed, kNllDequantise,
// image * 2^16 + k). v is called with image numbers, at net_batch rows, on `device`; its parameters must need no
// gradients. A draw's result does not depend on the others' (flow/solve.h). Error as of solve.
void log_densities(const SampleVelocity& velocity, const LikelihoodConfig& config, c10::Device device,
                   const std::function<std::optional<ImageDraw>()>& next,
                   const std::function<void(const DrawDensity&)>& done);

// log N(x; 0, sigma^2 I) of one x, by sums in float64.
double log_normal(const at::Tensor& x, double sigma);

// Of one image of d dimensions from log p of its K draws: -(logsumexp_k log p - ln K)/(d ln 2) + 7; the 7 is log2 128,
// of the map from bytes to model space.
double bits_per_dimension(std::span<const double> log_p, int64_t dimensions);

}  // namespace cfm::flow
