#include "evaluator/network_flow.h"

#include <ATen/ops/tensor.h>

#include <vector>

#include "flow/objective.h"
#include "models/named_tensors.h"

namespace cfm::evaluator {
namespace {

flow::FlowConfig flow_config_of(const checkpoint::Weights& weights) {
  const checkpoint::WeightsInfo& info = weights.info;
  try {
    return flow::flow_config_from(info.path, info.path_parameters, info.objective);
  } catch (const Error& e) {
    throw Error(weights.file.string() + ": " + e.what());
  }
}

}  // namespace

Problems WeightsChoice::validate() const {
  Problems problems;
  if (run_dir.empty() == weights_file.empty()) {
    problems.emplace_back("--run_dir and --weights_file: give one of the two");
  }
  if (!weights_file.empty() && (!weights.empty() || step != checkpoint::kNewestStep)) {
    problems.emplace_back("--weights and --step choose from --run_dir; a --weights_file is all there is");
  }
  if (step < checkpoint::kNewestStep)
    problems.push_back("--step=" + std::to_string(step) + ": expected a step, or -1 for the newest");
  return problems;
}

Problems net_batch_problems(int64_t net_batch) {
  constexpr int64_t kLargest = 16384;
  if (net_batch <= kLargest) return {};  // what is less than 1 is refused where it is used
  return {"--net_batch=" + std::to_string(net_batch) + ": expected 1 to " + std::to_string(kLargest)};
}

checkpoint::Weights load_weights(const WeightsChoice& choice) {
  checkpoint::Weights weights = choice.weights_file.empty()
                                    ? checkpoint::load_run_weights(choice.run_dir, choice.step, choice.weights)
                                    : checkpoint::load_weights_file(choice.weights_file);
  const std::string where = weights.file.string();
  const std::string advice = choice.weights_file.empty()
                                 ? ": the training has diverged. Take an earlier checkpoint by --step"
                                 : ": take another file";
  for (const auto& [name, tensor] : models::named_parameters(*weights.net)) {
    models::check_finite(where + ": tensor '" + name + "'", tensor, advice);
    tensor.set_requires_grad(false);  // or likelihoods would keep what the weights' gradients need
  }
  const models::UNetConfig& model = weights.info.model;
  check(model.in_channels == model.out_channels, where + " has " + std::to_string(model.out_channels) +
                                                     " output channels for images of " +
                                                     std::to_string(model.in_channels));
  return weights;
}

NetworkFlow network_flow(const checkpoint::Weights& weights, const LabelOf& label_of) {
  const checkpoint::WeightsInfo& info = weights.info;
  const flow::FlowConfig config = flow_config_of(weights);
  const bool has_labels = info.model.num_classes > 0;
  const flow::SampleVelocity velocity = [net = weights.net, config, label_of, has_labels](
                                            const at::Tensor& x, const at::Tensor& t,
                                            std::span<const int64_t> samples) {
    at::Tensor labels_B;
    if (has_labels) {
      std::vector<int64_t> labels;
      labels.reserve(samples.size());
      for (const int64_t sample : samples) labels.push_back(label_of(sample));
      labels_B = at::tensor(labels, at::kLong).to(x.device());
    }
    const flow::Network network = [&](const at::Tensor& input, const at::Tensor& time) {
      return net->forward(input, time, labels_B);
    };
    return flow::velocity_of(config, network)(x, t);
  };
  return {.sigma0 = info.sigma0, .t_end = info.t_end, .velocity = velocity};
}

}  // namespace cfm::evaluator
