#include "toy/point_likelihood.h"

#include <optional>

#include "flow/divergence.h"
#include "flow/likelihood.h"
#include "flow/solve.h"

namespace cfm::toy {

std::vector<PointDensity> point_densities(const flow::SampleVelocity& velocity, const flow::OdeConfig& ode,
                                          double sigma0, int64_t net_batch, const at::Tensor& points) {
  std::vector<PointDensity> densities(static_cast<size_t>(points.size(0)));
  int64_t waiting = 0;
  const flow::Queue queue{.next = [&]() -> std::optional<flow::Start> {
                            if (waiting == points.size(0)) return std::nullopt;
                            const int64_t point = waiting++;
                            return flow::Start{point, points[point]};
                          },
                          .done =
                              [&](const flow::Solved& solved) {
                                // From t_end to 0 the integral of div v has the opposite sign.
                                const double log_p = flow::log_normal(solved.x, sigma0) + solved.integral;
                                densities[static_cast<size_t>(solved.sample)] = {log_p, solved.nfe};
                              }};
  const flow::Field field = flow::with_divergence(velocity, {.divergence = "exact"});
  flow::solve(field, ode, ode.t_end, 0, net_batch, queue);
  return densities;
}

}  // namespace cfm::toy
