// The U-Net on the device that the environment's CFM_TEST_DEVICE names (cpu, if none): forward and backward against the
// same network in float64 on the CPU.

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "support/small_unet.h"
#include "trainer/autocast.h"

namespace cfm::models {
namespace {

c10::Device device() {
  const char* const wanted = std::getenv("CFM_TEST_DEVICE");
  at::globalContext().setAllowTF32CuDNN(false);  // what is compared is float32
  at::globalContext().setAllowTF32CuBLAS(false);
  return c10::Device(wanted == nullptr ? "cpu" : wanted);
}

UNetConfig labelled_unet() {
  UNetConfig config = test::small_unet_config();
  config.num_classes = 5;
  config.time_scale = 1;  // sin(1000 t) of a float32 t is a less exact function of t
  return config;
}

struct Precision {
  bool bf16 = false, channels_last = false;
};

struct Result {
  at::Tensor output;
  std::vector<std::pair<std::string, at::Tensor>> gradients;
};

// The output, and the gradients of its inner product with fixed numbers; in float64 on the CPU.
Result forward_backward(UNet& net, c10::Device where, at::ScalarType type, Precision precision = {},
                        const DropoutKey* dropout = nullptr) {
  at::Tensor x = test::normal({3, 3, 8, 8}, 2).to(where, type);
  if (precision.channels_last) x = x.contiguous(at::MemoryFormat::ChannelsLast);
  const at::Tensor t = test::times(3, 3).to(where, type), labels = at::arange(3).to(where);
  const at::Tensor output = [&] {
    const trainer::Autocast autocast(precision.bf16, where.type());
    return net.forward(x, t, labels, dropout);
  }();
  (output.to(type) * test::normal({3, 3, 8, 8}, 4).to(where, type)).sum().backward();
  Result result{output.detach().to(at::kCPU, at::kDouble), {}};
  for (const auto& [name, parameter] : named_parameters(net))
    result.gradients.emplace_back(name, parameter.grad().to(at::kCPU, at::kDouble));
  return result;
}

Result in_float64_on_the_cpu(const UNetConfig& config) {
  const auto net = test::shaken_unet(config);
  net->to(at::kDouble);
  return forward_backward(*net, c10::kCPU, at::kDouble);
}

Result in_float32_on_the_device(const UNetConfig& config, Precision precision = {}) {
  const auto net = test::shaken_unet(config);
  net->to(device());
  for (at::Tensor& parameter : net->parameters()) {
    if (precision.channels_last && parameter.dim() == 4)
      parameter.set_data(parameter.contiguous(at::MemoryFormat::ChannelsLast));
  }
  return forward_backward(*net, device(), at::kFloat, precision);
}

// The norm of the difference over that of the expected.
double error(const at::Tensor& found, const at::Tensor& expected) {
  return ((found - expected).norm() / expected.norm()).item<double>();
}

void expect_near(const Result& found, const Result& expected, double tolerance) {
  EXPECT_LT(error(found.output, expected.output), tolerance);
  ASSERT_EQ(found.gradients.size(), expected.gradients.size());
  for (size_t i = 0; i < found.gradients.size(); ++i) {
    const auto& [name, gradient] = found.gradients[i];
    EXPECT_LT(error(gradient, expected.gradients[i].second), tolerance) << name;
  }
}

TEST(UNetOnTheDevice, Float32FollowsFloat64ForwardAndBackward) {
  for (const bool updown : {false, true}) {
    UNetConfig config = labelled_unet();
    config.resblock_updown = config.use_scale_shift_norm = config.use_new_attention_order = updown;
    const Result expected = in_float64_on_the_cpu(config);
    expect_near(in_float32_on_the_device(config), expected, 1e-4);
    expect_near(in_float32_on_the_device(config, {.channels_last = true}), expected, 1e-4);
  }
}

TEST(UNetOnTheDevice, BFloat16FollowsFloat64ForwardAndBackwardAsFarAsItsDigitsGo) {
  const Result expected = in_float64_on_the_cpu(labelled_unet());
  for (const bool channels_last : {false, true}) {
    const Result found = in_float32_on_the_device(labelled_unet(), {.bf16 = true, .channels_last = channels_last});
    expect_near(found, expected, 0.05);
    EXPECT_GT(error(found.output, expected.output), 1e-4) << "this is not bfloat16";
  }
}

TEST(UNetOnTheDevice, DropoutIsAFunctionOfItsKey) {
  UNetConfig config = labelled_unet();
  config.dropout = 0.3;
  const auto net = test::shaken_unet(config);
  net->to(device());
  const auto with_key = [&](const DropoutKey& key) {
    net->zero_grad();
    return forward_backward(*net, device(), at::kFloat, {}, &key);
  };
  const Result once = with_key({1, 2});
  expect_near(with_key({1, 2}), once, 1e-5);
  EXPECT_GT(error(with_key({1, 3}).output, once.output), 1e-2);
  EXPECT_GT(error(with_key({2, 2}).output, once.output), 1e-2);
}

}  // namespace
}  // namespace cfm::models
