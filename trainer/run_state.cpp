#include "trainer/run_state.h"

#include "base/number_text.h"
#include "base/source_revision.h"
#include "checkpoint/weights.h"

namespace cfm::trainer {
namespace {

// Convolution weights in channels_last; everything else as it is.
void to_channels_last(models::UNet& net) {
  for (at::Tensor& parameter : net.parameters()) {
    if (parameter.dim() == 4) parameter.set_data(parameter.contiguous(at::MemoryFormat::ChannelsLast));
  }
}

checkpoint::Metadata weights_metadata(const RunState& state, const TrainConfig& config,
                                      const data::Fingerprint& fingerprint, double ema_decay) {
  checkpoint::WeightsInfo info;
  info.model = config.model;
  info.path = config.flow_config.path.path;
  info.objective = config.flow_config.objective;
  info.path_parameters = flow::path_parameters(config.flow_config.path);
  info.t_end = flow::t_end(config.flow_config.path);
  info.sigma0 = flow::sigma0(config.flow_config.path);
  info.ema_decay = ema_decay;
  info.step = state.at.step;
  info.dataset_fingerprint = fingerprint.files;
  info.dataset_images_fingerprint = fingerprint.images;
  if (const auto& branch = state.branched_from) info.branched_from = branch->run + "@" + std::to_string(branch->step);
  return checkpoint::to_metadata(info);
}

}  // namespace

RunState fresh_state(const TrainConfig& config, c10::Device device) {
  const auto net = std::make_shared<models::UNet>(config.model, config.seed);
  net->to(device);
  if (config.channels_last) to_channels_last(*net);
  const checkpoint::NamedTensors parameters = models::named_parameters(*net);
  return {.net = net,
          .parameters = parameters,
          .ema = models::Ema(config.ema, parameters),
          .optimizer = Optimizer(config.optimizer, parameters),
          .at = {},
          .branched_from = {}};
}

std::vector<checkpoint::Part> parts_of(const RunState& state, const TrainConfig& config,
                                       const data::Fingerprint& fingerprint) {
  std::vector<checkpoint::Part> parts;
  parts.push_back({"model", state.parameters, weights_metadata(state, config, fingerprint, 0)});
  for (size_t i = 0; i < state.ema.decays().size(); ++i) {
    const double decay = state.ema.decays()[i];
    parts.push_back(
        {"ema_" + number_text(decay), state.ema.average(i), weights_metadata(state, config, fingerprint, decay)});
  }
  parts.push_back({"exp_avg", state.optimizer.exp_avg(), {}});
  parts.push_back({"exp_avg_sq", state.optimizer.exp_avg_sq(), {}});
  return parts;
}

checkpoint::Manifest manifest_of(const RunState& state, const TrainConfig& config, const data::Fingerprint& fingerprint,
                                 const checkpoint::Metadata& last_bits) {
  checkpoint::Manifest manifest;
  manifest.progress = state.at;
  manifest.seed = config.seed;
  manifest.global_batch = config.global_batch;
  manifest.data_groups = config.data_groups;
  manifest.dataset_fingerprint = fingerprint.files;
  manifest.dataset_images_fingerprint = fingerprint.images;
  manifest.source_revision = source_revision();
  manifest.model = models::to_metadata(config.model);
  manifest.flags = config.flags;
  manifest.last_bits = last_bits;
  manifest.branched_from = state.branched_from;
  return manifest;
}

}  // namespace cfm::trainer
