#pragma once
// What is looked at while a run goes on: the loss on held-out images, and a grid of samples.

#include <filesystem>
#include <functional>
#include <optional>

#include "data/dataset.h"
#include "flow/objective.h"
#include "flow/sampler.h"
#include "models/unet.h"
#include "parallel/mpi_session.h"
#include "trainer/loss_by_time.h"

namespace cfm::trainer {

// How others hear of the work while it goes on.
struct Pulse {
  std::function<void()> works;                         // before each batch of the network
  std::function<void()> waits;                         // before a rank waits for the others' share
  std::function<bool()> stops = [] { return false; };  // asked before each batch: whether to leave it
};

struct ValidationLoss {
  double mean = 0;
  ByTime by_time{};
  int64_t images = 0;
};

// The objective's loss on the first `images` held-out images, each with a time (uniform, whatever --time_sampling), a
// noise and a dequantisation that depend on the image alone (not on the run's seed), so that numbers compare over
// steps, world sizes and runs. The network runs in float32 at one batch shape; per-image losses are added in image
// order: the same bits for any number of ranks. Collective; the result is rank 0's on all ranks; nothing if a rank was
// asked to stop.
std::optional<ValidationLoss> validation_loss(models::UNet& net, const flow::FlowConfig& flow_config,
                                              const data::Dataset& dataset, int64_t images, int64_t net_batch,
                                              const parallel::MpiSession& session, c10::Device device,
                                              const Pulse& pulse);

// A PNG grid of 64 images from fixed noises, classes in turn. All ranks share the work, rank 0 writes. False, and
// nothing is written, if a rank was asked to stop. Collective.
bool write_sample_grid(models::UNet& net, const flow::FlowConfig& flow_config, const flow::SampleConfig& config,
                       data::ImageShape shape, const std::filesystem::path& file, const parallel::MpiSession& session,
                       c10::Device device, const Pulse& pulse);

}  // namespace cfm::trainer
