#pragma once
// The looks that a run takes at itself as it goes: losses on held-out images, sample grids.

#include <memory>
#include <optional>
#include <string>

#include "parallel/watchdog.h"
#include "trainer/open_data.h"
#include "trainer/prepare.h"
#include "trainer/report.h"
#include "trainer/run_state.h"

namespace cfm::trainer {

class HeldOutLook {
 public:
  // Says once if there is no average of the weights to look at. What it is given must outlive it.
  HeldOutLook(const RunState& state, const TrainConfig& config, const OpenedData& data, Report& report,
              const parallel::MpiSession& session, c10::Device device);
  // Held-out losses of the weights and of their longest average, and a grid of samples of that average (of the weights,
  // where there is none), if this step asks for them. The watchdog hears of every batch. A signal ends a look before
  // its next batch, and nothing is said of it. Collective.
  void take(parallel::Watchdog& watchdog, const StopSignal& stop);

 private:
  const RunState& state_;
  const TrainConfig& config_;
  const OpenedData& data_;
  Report& report_;
  const parallel::MpiSession& session_;
  c10::Device device_;
  std::string average_name_;            // "ema_0.9999"; empty: none
  std::shared_ptr<models::UNet> best_;  // on the average's own tensors; the run's network without one
};

}  // namespace cfm::trainer
