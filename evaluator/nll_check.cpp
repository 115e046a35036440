#include "evaluator/nll_check.h"

#include <algorithm>
#include <cmath>

namespace cfm::evaluator {

ConvergenceCheck compare(const NllPlan& finer, const DrawRecords& coarse, const DrawRecords& fine) {
  const auto bits = [&](const DrawRecords& records, int64_t image) {
    return flow::bits_per_dimension({&records.at({image, 0}).log_p, 1}, finer.dimensions);
  };
  ConvergenceCheck check{.images = finer.count};
  for (int64_t image = 0; image < finer.count; ++image) {
    const double difference = bits(coarse, image) - bits(fine, image);
    check.mean += difference / static_cast<double>(finer.count);
    check.rms += difference * difference / static_cast<double>(finer.count);
    check.largest = std::max(check.largest, std::abs(difference));
  }
  check.rms = std::sqrt(check.rms);
  return check;
}

}  // namespace cfm::evaluator
