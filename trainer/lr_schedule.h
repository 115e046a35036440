#pragma once
#include <cstdint>
#include <string>

#include "base/error.h"

namespace cfm::trainer {

// Linear warm-up, then constant, polynomial (linear, as Lipman et al. arXiv:2210.02747v2 app. E.2 means it) or cosine
// decay.
struct LrSchedule {
  double lr = 1e-4;  // the peak
  int64_t warmup_steps = 0;
  std::string lr_decay = "constant";  // constant, polynomial, cosine
  double lr_floor = 1e-8;             // where warm-up starts and decay ends
  Problems validate(int64_t steps) const;
};

// The learning rate of step n = 0, 1, ..., steps - 1: floor + (lr - floor) n / warmup for n < warmup, the peak at n =
// warmup, the floor at n = steps for the two decays.
double lr_at(const LrSchedule& schedule, int64_t step, int64_t steps);

}  // namespace cfm::trainer
