#include "flow/step_size.h"

#include <algorithm>
#include <cmath>

namespace cfm::flow {
namespace {

constexpr double kOrder = 5;  // an estimate of order 4 has an error of h^5

}  // namespace

double step_factor(double error) {
  constexpr double kSafety = 0.9, kLargest = 10, kSmallest = 0.2;
  if (error == 0) return kLargest;
  return std::min(kLargest, std::max(kSafety * std::pow(error, -1 / kOrder), error < 1 ? 1 : kSmallest));
}

double trial_step(double x_norm, double slope_norm) {
  return x_norm < 1e-5 || slope_norm < 1e-5 ? 1e-6 : 0.01 * x_norm / slope_norm;
}

double first_step(double trial, double slope_norm, double curvature_norm) {
  const double steepest = std::max(slope_norm, curvature_norm);
  const double by_slope = steepest <= 1e-15 ? std::max(1e-6, 1e-3 * trial) : std::pow(0.01 / steepest, 1 / kOrder);
  return std::min(100 * trial, by_slope);
}

double on_ladder(double h) {
  constexpr double kToAnOctave = 4, kRounding = 1e-9;  // a length of the ladder stays what it is
  return std::exp2(std::floor(kToAnOctave * std::log2(h) + kRounding) / kToAnOctave);
}

}  // namespace cfm::flow
