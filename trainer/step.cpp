#include "trainer/step.h"

#include <ATen/ops/sum.h>
#include <ATen/ops/zeros.h>

#include <cmath>

#include "flow/objective.h"
#include "flow/path.h"
#include "trainer/autocast.h"
#include "trainer/batch.h"
#include "trainer/guard.h"
#include "trainer/loss_by_time.h"

namespace cfm::trainer {

StepMade make_step(const StepTools& tools, const std::function<void()>& changes) {
  const TrainConfig& config = tools.config;
  const c10::Device device = tools.device;
  RunState& state = tools.state;
  checkpoint::Progress& at = state.at;
  parallel::GradientReducer& reducer = tools.reducer;
  data::Loader& loader = tools.loader;
  PhaseClock& phases = tools.phases;
  const double weight = static_cast<double>(tools.session.size()) / static_cast<double>(config.global_batch);
  const bool labelled = config.model.num_classes > 0;

  at::Tensor loss_sum = at::zeros({}, at::TensorOptions(device).dtype(at::kFloat));
  at::Tensor by_time = at::zeros({2, kTimeBins}, at::TensorOptions(device).dtype(at::kDouble));
  reducer.begin_step();
  for (int64_t micro = 0; micro < loader.micro_batches_per_step(); ++micro) {
    // shard -> batch -> point of the path; t = 0 is noise, t = 1 is data
    phases.enter(Phase::kData, at.step);
    const data::Batch host = loader.next();  // images uint8 [B,C,H,W], labels [B], draws
    phases.enter(Phase::kTransfer, at.step);
    const TrainingBatch batch = to_training_batch(host, tools.draws, labelled, device);  // x1, x0 [B,C,H,W], t [B]
    const flow::TrainingPoint point =                                                    // input, target [B,C,H,W]
        flow::training_point(config.flow_config, batch.x0, batch.x1, batch.t, config.times);
    // point -> the network's output -> loss -> gradients
    phases.enter(Phase::kForward, at.step);
    const models::DropoutKey dropout{config.seed, static_cast<uint64_t>(host.first_draw)};
    const at::Tensor losses = [&] {
      const Autocast autocast(config.precision == "bf16", device.type());
      const at::Tensor F =
          state.net->forward(in_format(point.input, config.channels_last), point.t, batch.labels, &dropout);
      return flow::loss(F, point);  // [B]
    }();
    const at::Tensor micro_loss = losses.sum();
    loss_sum += micro_loss.detach();
    by_time += losses_by_time(losses, batch.t, flow::t_end(config.flow_config.path));
    phases.enter(Phase::kBackward, at.step);
    if (micro + 1 == loader.micro_batches_per_step())
      reducer.sync_next_backward([&] { phases.enter(Phase::kAllReduce, at.step); });  // what backward does not hide
    (micro_loss * finite_or_nan(weight, micro_loss)).backward();
  }
  reducer.finish();

  // guard -> clip -> optimizer -> EMA: the reduced gradient and its norm are the same on every rank
  phases.enter(Phase::kOptimizer, at.step);
  const std::vector<at::Tensor> gradients = reducer.gradients();
  const double norm = agreed_gradient_norm(gradients, tools.session);
  const double lr = lr_at(config.schedule, at.step, config.steps);
  const int64_t averaged_updates = state.averaged_updates();
  const bool finite = std::isfinite(norm);
  if (finite) {
    changes();
    clip_gradients(gradients, norm, config.clip_norm);
    state.optimizer.step(gradients, lr, at.optimizer_steps);
    phases.enter(Phase::kEma, at.step);
    state.ema.update(averaged_updates);
    ++at.optimizer_steps;
  }
  phases.enter(Phase::kOptimizer, at.step);
  reducer.zero_gradients();
  phases.handed_over();
  ++at.step;
  at.images_seen += config.global_batch;
  return {.loss_sum = loss_sum,
          .loss_by_time = by_time,
          .gradient_norm = norm,
          .lr = lr,
          .averaged_updates = averaged_updates,
          .skipped = !finite};
}

}  // namespace cfm::trainer
