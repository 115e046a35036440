#include "trainer/batch.h"

#include <ATen/ops/where.h>

#include <utility>

namespace cfm::trainer {

std::function<void(data::Batch&)> draw_maker(const flow::DrawConfig& config, int64_t global_batch,
                                             std::shared_ptr<CoupledNoise> noise) {
  return [config, global_batch, noise = std::move(noise)](data::Batch& batch) {
    const flow::StepSlots slots{.images_seen = static_cast<uint64_t>(batch.images_seen),
                                .global_batch = global_batch,
                                .first = batch.first_draw - batch.images_seen,
                                .count = batch.images.size(0)};
    flow::Draws draws = flow::make_draws(config, slots, batch.images.sizes().slice(1), noise->draws_of(slots));
    if (batch.images.is_pinned()) {
      for (at::Tensor* part : {&draws.u, &draws.x0, &draws.t, &draws.flip, &draws.drop}) *part = part->pin_memory();
    }
    batch.extra = std::move(draws);
  };
}

TrainingBatch to_training_batch(const data::Batch& batch, const flow::DrawConfig& config, bool labelled,
                                c10::Device device) {
  const auto to_device = [&](const at::Tensor& x) { return x.to(device, /*non_blocking=*/true); };
  const auto& host = std::any_cast<const flow::Draws&>(batch.extra);
  const flow::Draws draws{.u = to_device(host.u),
                          .x0 = to_device(host.x0),
                          .t = to_device(host.t),
                          .flip = to_device(host.flip),
                          .drop = to_device(host.drop)};
  at::Tensor labels;
  if (labelled) {
    labels = to_device(batch.labels);
    if (config.label_drop > 0) labels = at::where(draws.drop, config.null_class, labels);
  }
  return {.x1 = flow::to_x1(to_device(batch.images), draws), .x0 = draws.x0, .t = draws.t, .labels = labels};
}

at::Tensor in_format(const at::Tensor& x, bool channels_last) {
  return channels_last ? x.contiguous(at::MemoryFormat::ChannelsLast) : x;
}

}  // namespace cfm::trainer
