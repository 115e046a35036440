#include "trainer/look.h"

#include <algorithm>

#include "base/number_text.h"

namespace cfm::trainer {

HeldOutLook::HeldOutLook(const RunState& state, const TrainConfig& config, const OpenedData& data, Report& report,
                         const parallel::MpiSession& session, c10::Device device)
    : state_(state),
      config_(config),
      data_(data),
      report_(report),
      session_(session),
      device_(device),
      best_(state.net) {
  const std::vector<double>& decays = state.ema.decays();
  if (!decays.empty()) {
    const auto longest = std::max_element(decays.begin(), decays.end());
    average_name_ = "ema_" + number_text(*longest);
    best_ = models::network_on(config.model, state.ema.average(static_cast<size_t>(longest - decays.begin())));
  } else if (config.val_every > 0 || config.sample_every > 0) {
    report.note("held-out   losses and samples are of the weights themselves: --ema_decays is empty");
  }
}

void HeldOutLook::take(parallel::Watchdog& watchdog, const StopSignal& stop) {
  const int64_t step = state_.at.step;
  const Pulse pulse{.works = [&] { watchdog.enter("held-out", step); },
                    .waits = [&] { watchdog.wait("held-out", step); },
                    .stops = [&] { return stop.raised() != 0; }};
  const bool of_losses = data_.val && due(config_.val_every, step), of_samples = due(config_.sample_every, step);
  if (!of_losses && !of_samples) return;
  report_.stage(Stage::kHeldOut);
  if (of_losses) {
    const auto loss = [&](models::UNet& net) {
      return validation_loss(net, config_.flow_config, *data_.val, config_.val_images, config_.sample.net_batch,
                             session_, device_, pulse);
    };
    const auto raw = loss(*state_.net);
    if (raw) report_.validation(step, "raw", *raw);
    const auto average = raw && !average_name_.empty() ? loss(*best_) : std::nullopt;
    if (average) report_.validation(step, average_name_, *average);
  }
  if (of_samples) {
    const std::string file = config_.run_dir + "/samples/" + checkpoint::step_name(step) + ".png";
    const bool written = write_sample_grid(*best_, config_.flow_config, config_.sample, data_.train.image_shape(), file,
                                           session_, device_, pulse);
    if (written) report_.samples(step, file);
  }
  report_.stage(Stage::kTraining);
}

}  // namespace cfm::trainer
