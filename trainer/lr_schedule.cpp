#include "trainer/lr_schedule.h"

#include <cmath>
#include <numbers>

#include "base/number_text.h"

namespace cfm::trainer {

Problems LrSchedule::validate(int64_t steps) const {
  Problems problems;
  if (!(lr > 0) || !std::isfinite(lr)) problems.push_back("--lr=" + number_text(lr) + ": must be a positive number");
  if (warmup_steps < 0 || warmup_steps > steps) {
    problems.push_back("--warmup_steps=" + std::to_string(warmup_steps) + ": expected 0 to --steps=" +
                       std::to_string(steps) + "; a flagfile may have set either: give both.");
  }
  if (lr_decay != "constant" && lr_decay != "polynomial" && lr_decay != "cosine") {
    problems.push_back("--lr_decay=" + lr_decay + ": there are constant, polynomial, cosine");
  }
  if (!(lr_floor >= 0 && lr_floor <= lr))
    problems.push_back("--lr_floor=" + number_text(lr_floor) + ": must lie between 0 and --lr=" + number_text(lr));
  return problems;
}

double lr_at(const LrSchedule& schedule, int64_t step, int64_t steps) {
  const double rise = schedule.lr - schedule.lr_floor;
  const auto n = static_cast<double>(step);
  const auto warmup = static_cast<double>(schedule.warmup_steps);
  if (step < schedule.warmup_steps) return schedule.lr_floor + rise * n / warmup;
  const double done = steps > schedule.warmup_steps ? (n - warmup) / (static_cast<double>(steps) - warmup) : 0;
  if (schedule.lr_decay == "polynomial") return schedule.lr - rise * done;
  if (schedule.lr_decay == "cosine") return schedule.lr_floor + rise * 0.5 * (1 + std::cos(std::numbers::pi * done));
  return schedule.lr;
}

}  // namespace cfm::trainer
