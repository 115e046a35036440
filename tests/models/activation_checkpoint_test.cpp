#include "models/activation_checkpoint.h"

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/utils/lambda_post_hook.h>
#include <torch/csrc/autograd/variable.h>

#include "base/error.h"
#include "support/small_unet.h"

namespace cfm::models {
namespace {

using test::normal;
using test::shaken_unet;
using test::small_unet_config;
using test::times;

class Bf16Autocast {
 public:
  explicit Bf16Autocast(bool on) : on_(on) {
    at::autocast::set_autocast_enabled(at::kCPU, on);
    at::autocast::set_autocast_dtype(at::kCPU, at::kBFloat16);
    at::autocast::increment_nesting();
  }
  ~Bf16Autocast() {
    if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
    if (on_) at::autocast::set_autocast_enabled(at::kCPU, false);
  }

 private:
  bool on_;
};

std::vector<at::Tensor> output_and_gradients(bool checkpointing, bool bf16, bool backward_in_autocast) {
  UNetConfig config = small_unet_config();
  config.dropout = 0.2;
  config.num_classes = 4;
  config.activation_checkpointing = checkpointing;
  const auto net = shaken_unet(config);
  const at::Tensor x = normal({3, 3, 8, 8}, 1).requires_grad_();
  const DropoutKey key{4, 5};
  at::Tensor loss, y;
  {
    const Bf16Autocast autocast(bf16);
    y = net->forward(x, times(3, 1), at::arange(3), &key);
    loss = (y - normal({3, 3, 8, 8}, 2)).square().mean();
    if (backward_in_autocast) loss.backward();
  }
  if (!backward_in_autocast) loss.backward();
  std::vector<at::Tensor> results{y, x.grad()};
  for (const at::Tensor& parameter : net->parameters()) results.push_back(parameter.grad());
  return results;
}

TEST(ActivationCheckpoint, GivesTheSameBits) {
  for (const bool bf16 : {false, true}) {
    for (const bool backward_in_autocast : {false, true}) {
      const auto kept = output_and_gradients(false, bf16, backward_in_autocast);
      const auto again = output_and_gradients(true, bf16, backward_in_autocast);
      ASSERT_EQ(kept.size(), again.size());
      for (size_t i = 0; i < kept.size(); ++i) {
        ASSERT_TRUE(again[i].defined()) << i;
        EXPECT_GT(kept[i].abs().max().item<double>(), 0) << i;
        EXPECT_TRUE(again[i].equal(kept[i])) << i << " bf16 " << bf16;
      }
    }
  }
}

TEST(ActivationCheckpoint, RunsTheSegmentAgainInBackwardAndEachGradientArrivesOnce) {
  int runs = 0;
  const at::Tensor w = normal({4, 4}, 1).requires_grad_();
  const at::Tensor x = normal({2, 4}, 2).requires_grad_();
  const Segment segment = [&runs, w](const std::vector<at::Tensor>& inputs) {
    ++runs;
    return at::tanh(at::matmul(inputs[0], w)) * inputs[1];
  };
  int accumulations = 0;
  const auto accumulator = torch::autograd::impl::grad_accumulator(w);  // where c10d::Reducer listens
  accumulator->add_post_hook(std::make_unique<torch::autograd::utils::LambdaPostHook>(
      [&accumulations](const torch::autograd::variable_list& outputs, const torch::autograd::variable_list&) {
        ++accumulations;
        return outputs;
      }));
  const at::Tensor fixed = normal({2, 4}, 3);  // needs no gradient
  const at::Tensor y = activation_checkpoint(segment, {x, fixed}, {w});
  EXPECT_EQ(runs, 1);
  y.sum().backward();
  EXPECT_EQ(runs, 2);
  EXPECT_EQ(accumulations, 1);
  EXPECT_FALSE(fixed.grad().defined());
  const at::Tensor slope = (1 - at::tanh(at::matmul(x, w)).square()) * fixed;
  EXPECT_TRUE(w.grad().allclose(at::matmul(x.t(), slope), 1e-5, 1e-6));
  EXPECT_TRUE(x.grad().allclose(at::matmul(slope, w.t()), 1e-5, 1e-6));
}

TEST(ActivationCheckpoint, WorksForTheInputAloneAndKeepsNothingWithoutGradients) {
  UNetConfig config = small_unet_config();
  config.activation_checkpointing = true;
  const auto net = shaken_unet(config);
  for (auto& parameter : net->parameters()) parameter.set_requires_grad(false);
  const at::Tensor x = normal({2, 3, 8, 8}, 1).requires_grad_();
  const at::Tensor probe = normal({2, 3, 8, 8}, 2);
  const at::Tensor y = net->forward(x, times(2, 1));
  const at::Tensor vjp = torch::autograd::grad({y}, {x}, {probe})[0];
  config.activation_checkpointing = false;
  const at::Tensor expected = torch::autograd::grad({shaken_unet(config)->forward(x, times(2, 1))}, {x}, {probe})[0];
  EXPECT_TRUE(vjp.equal(expected));
  const at::NoGradGuard no_grad;
  EXPECT_FALSE(net->forward(x, times(2, 1)).requires_grad());
}

TEST(ActivationCheckpoint, RefusesASecondDerivative) {
  const at::Tensor x = normal({2, 4}, 2).requires_grad_();
  const at::Tensor y = activation_checkpoint([](const auto& inputs) { return inputs[0].square(); }, {x}, {});
  EXPECT_THROW(torch::autograd::grad({y.sum()}, {x}, {}, true, true), Error);
}

TEST(ActivationCheckpoint, TheGraphKeepsTheNetworkAlive) {
  UNetConfig config = small_unet_config();
  config.activation_checkpointing = true;
  auto net = shaken_unet(config);
  const at::Tensor x = normal({2, 3, 8, 8}, 1).requires_grad_();
  const at::Tensor y = net->forward(x, times(2, 1));
  net.reset();
  y.sum().backward();
  EXPECT_GT(x.grad().abs().max().item<float>(), 0);
}

}  // namespace
}  // namespace cfm::models
