#include "trainer/run_state.h"

#include <ATen/Context.h>
#include <ATen/Version.h>
#include <ATen/core/grad_mode.h>
#include <ATen/native/DispatchStub.h>
#include <torch/headeronly/version.h>

#include <algorithm>

#include "base/log.h"
#include "base/number_text.h"
#include "checkpoint/weights.h"

namespace cfm::trainer {
namespace {

// Convolution weights in channels_last; everything else as it is.
void to_channels_last(models::UNet& net) {
  for (at::Tensor& parameter : net.parameters()) {
    if (parameter.dim() == 4) parameter.set_data(parameter.contiguous(at::MemoryFormat::ChannelsLast));
  }
}

checkpoint::Metadata weights_metadata(const RunState& state, const TrainConfig& config, const std::string& fingerprint,
                                      double ema_decay) {
  checkpoint::WeightsInfo info;
  info.model = config.model;
  info.sigma_min = config.path.sigma_min;
  info.ema_decay = ema_decay;
  info.step = state.at.step;
  info.dataset_fingerprint = fingerprint;
  return checkpoint::to_metadata(info);
}

}  // namespace

RunState fresh_state(const TrainConfig& config, c10::Device device) {
  const auto net = std::make_shared<models::UNet>(config.model, config.seed);
  if (!config.init_from.empty()) {
    const checkpoint::Weights start = checkpoint::load_weights_file(config.init_from);
    checkpoint::load_tensors(models::named_parameters(*start.net), models::named_parameters(*net), config.init_from);
  }
  net->to(device);
  if (config.channels_last) to_channels_last(*net);
  const checkpoint::NamedTensors parameters = models::named_parameters(*net);
  return {.net = net,
          .parameters = parameters,
          .ema = models::Ema(config.ema, parameters),
          .optimizer = Optimizer(config.optimizer, parameters),
          .at = {}};
}

std::vector<checkpoint::Part> parts_of(const RunState& state, const TrainConfig& config,
                                       const std::string& fingerprint) {
  std::vector<checkpoint::Part> parts;
  parts.push_back({"model", state.parameters, weights_metadata(state, config, fingerprint, 0)});
  for (size_t i = 0; i < state.ema.decays().size(); ++i) {
    const double decay = state.ema.decays()[i];
    parts.push_back({"ema_" + number_text(decay), state.ema.average(i),
                     weights_metadata(state, config, fingerprint, decay)});
  }
  parts.push_back({"exp_avg", state.optimizer.exp_avg(), {}});
  parts.push_back({"exp_avg_sq", state.optimizer.exp_avg_sq(), {}});
  return parts;
}

checkpoint::Manifest manifest_of(const RunState& state, const TrainConfig& config, const std::string& fingerprint,
                                 const checkpoint::Metadata& last_bits) {
  checkpoint::Manifest manifest;
  manifest.progress = state.at;
  manifest.seed = config.seed;
  manifest.global_batch = config.global_batch;
  manifest.dataset_fingerprint = fingerprint;
  manifest.source_revision = CFM_SOURCE_REVISION;
  manifest.model = models::to_metadata(config.model);
  manifest.flags = config.flags;
  manifest.last_bits = last_bits;
  return manifest;
}

checkpoint::Metadata last_bits(const TrainConfig& config, const parallel::MpiSession& session, c10::Device device,
                               int threads) {
  return {{"ranks", std::to_string(session.size())},
          {"ranks_per_node", std::to_string(session.local_size())},
          {"threads", std::to_string(threads)},
          {"device", device.is_cuda() ? "cuda" : "cpu"},
          {"cpu_capability", at::get_cpu_capability()},
          {"libtorch", TORCH_VERSION},
          {"global_batch", std::to_string(config.global_batch)},
          {"micro_batch", std::to_string(config.micro_batch)},
          {"precision", config.precision},
          {"channels_last", config.channels_last ? "true" : "false"},
          {"activation_checkpointing", config.model.activation_checkpointing ? "true" : "false"}};
}

void check_resumable(const checkpoint::Manifest& manifest, const TrainConfig& config, const std::string& fingerprint) {
  Problems problems;
  const auto same = [&](const std::string& what, const std::string& then, const std::string& now) {
    if (then != now)
      problems.push_back(what + " is " + now + ", the run's checkpoint was made with " + then +
                         ": a resume cannot change it. Give the old value, or another --run_dir.");
  };
  same("--seed", std::to_string(manifest.seed), std::to_string(config.seed));
  same("the fingerprint of --train_data", manifest.dataset_fingerprint, fingerprint);
  for (const auto& [name, now] : models::to_metadata(config.model)) {
    const auto then = manifest.model.find(name);
    if (name != "activation_checkpointing" && then != manifest.model.end())
      same("the network's " + name, then->second, now);
  }
  for (const std::string name :
       {"sigma_min", "ema_decays", "ema_warmup", "horizontal_flip", "label_drop", "optimizer"}) {
    const auto then = manifest.flags.find(name), now = config.flags.find(name);
    if (then != manifest.flags.end() && now != config.flags.end()) same("--" + name, then->second, now->second);
  }
  check_no_problems(problems);
}

std::optional<checkpoint::Manifest> resume(RunState& state, const TrainConfig& config, const std::string& fingerprint,
                                           const checkpoint::Metadata& last_bits, checkpoint::Store& store,
                                           bool speak) {
  const at::NoGradGuard no_grad;
  const auto manifest = store.load_newest(parts_of(state, config, fingerprint), [&](const checkpoint::Manifest& found) {
    check_resumable(found, config, fingerprint);
  });
  if (!manifest) return {};
  state.at = manifest->progress;
  for (const auto& [name, now] : last_bits) {
    const auto then = manifest->last_bits.find(name);
    if (speak && then != manifest->last_bits.end() && then->second != now) {
      say("resume: " + name + " was " + then->second + ", is " + now + ": the same samples and noise, other last bits");
    }
  }
  return manifest;
}

size_t longest_average(const models::Ema& ema) {
  return static_cast<size_t>(std::max_element(ema.decays().begin(), ema.decays().end()) - ema.decays().begin());
}

std::shared_ptr<models::UNet> network_of_average(const RunState& state, size_t index, c10::Device device) {
  models::UNetConfig config = state.net->config();
  config.dropout = 0;
  auto net = std::make_shared<models::UNet>(config, /*seed=*/0);
  net->to(device);
  const checkpoint::NamedTensors weights = state.ema.average(index);
  const checkpoint::NamedTensors parameters = models::named_parameters(*net);
  for (size_t i = 0; i < weights.size(); ++i) {
    at::Tensor parameter = parameters[i].second;
    parameter.set_data(weights[i].second);
    parameter.set_requires_grad(false);
  }
  return net;
}

}  // namespace cfm::trainer
