#include "models/unet.h"

#include <gtest/gtest.h>

#include <numeric>
#include <set>

#include "support/small_unet.h"

namespace cfm::models {
namespace {

using test::normal;
using test::shaken_unet;
using test::small_unet_config;
using test::times;

int64_t count(const UNetConfig& config) {
  int64_t total = 0;
  for (const auto& [name, shape] : parameter_shapes(config)) {
    total += std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
  }
  return total;
}

// The plain variants have no scale-shift and resample by convolutions.
UNetConfig plain(UNetConfig config) {
  config.use_scale_shift_norm = false;
  config.resblock_updown = false;
  return config;
}

UNetConfig torchcfm_cifar10() {
  UNetConfig config = plain({});
  config.num_head_channels = 64;
  config.use_new_attention_order = false;
  return config;
}

UNetConfig paper(int64_t image_size, int64_t channels, int64_t depth, std::vector<int64_t> mult,
                 std::vector<int64_t> attention) {
  UNetConfig config;
  config.image_size = image_size;
  config.model_channels = channels;
  config.num_res_blocks = depth;
  config.channel_mult = std::move(mult);
  config.attention_resolutions = std::move(attention);
  config.num_head_channels = 64;
  return config;
}

const UNetConfig kPaperImageNet64 = paper(64, 192, 3, {1, 2, 3, 4}, {32, 16, 8});

TEST(UNet, HasThePublishedParameterCountsOfOtherRepositories) {
  EXPECT_EQ(count(torchcfm_cifar10()), 35'746'307);

  UNetConfig flow_matching_imagenet = kPaperImageNet64;
  flow_matching_imagenet.num_classes = 1000;
  flow_matching_imagenet.null_class = true;
  EXPECT_EQ(count(flow_matching_imagenet), 295'900'035);

  UNetConfig adm_64 = kPaperImageNet64;
  adm_64.num_classes = 1000;
  adm_64.out_channels = 6;
  EXPECT_EQ(count(adm_64), 295'904'454);
  EXPECT_EQ(parameter_shapes(adm_64).size(), 541U);

  UNetConfig flow_matching_cifar10;
  flow_matching_cifar10.channel_mult = {2, 2, 2};
  flow_matching_cifar10.num_res_blocks = 4;
  flow_matching_cifar10.attention_resolutions = {16};
  flow_matching_cifar10.num_heads = 1;
  flow_matching_cifar10.resblock_updown = false;
  flow_matching_cifar10.conv_resample = false;
  EXPECT_EQ(count(flow_matching_cifar10), 55'676'419);
}

TEST(UNet, HasTheParameterCountsOfThePapersNetworks) {
  const UNetConfig cifar10 = paper(32, 256, 2, {1, 2, 2, 2}, {16});
  EXPECT_EQ(count(cifar10), 171'268'099);
  EXPECT_EQ(count(plain(cifar10)), 142'861'315);
  const UNetConfig imagenet32 = paper(32, 256, 3, {1, 2, 2, 2}, {16, 8});
  EXPECT_EQ(count(imagenet32), 228'149'507);
  EXPECT_EQ(count(plain(imagenet32)), 196'069'123);
  EXPECT_EQ(count(kPaperImageNet64), 295'131'267);
  EXPECT_EQ(count(plain(kPaperImageNet64)), 264'904'515);
  const UNetConfig imagenet128 = paper(128, 256, 3, {1, 1, 2, 3, 4}, {32, 16, 8});
  EXPECT_EQ(count(imagenet128), 542'804'483);
  EXPECT_EQ(count(plain(imagenet128)), 485'015'043);
}

TEST(UNet, ANetworkThatIsMadeHasTheShapesThatWereForetold) {
  const UNetConfig config = torchcfm_cifar10();
  const UNet net(config, 1);
  EXPECT_EQ(parameter_count(net), 35'746'307);
  const auto parameters = named_parameters(net);
  const auto shapes = parameter_shapes(config);
  ASSERT_EQ(parameters.size(), shapes.size());
  for (size_t i = 0; i < shapes.size(); ++i) {
    EXPECT_EQ(parameters[i].first, shapes[i].first);
    EXPECT_EQ(parameters[i].second.sizes().vec(), shapes[i].second);
  }
}

std::set<std::string> names(const UNetConfig& config) {
  std::set<std::string> found;
  for (const auto& [name, shape] : parameter_shapes(config)) found.insert(name);
  return found;
}

TEST(UNet, EverySwitchHasItsNames) {
  UNetConfig config = small_unet_config();
  config.resblock_updown = true;
  EXPECT_TRUE(names(config).contains("input_blocks.0.0.weight"));
  EXPECT_TRUE(names(config).contains("input_blocks.2.0.in_layers.2.weight"));
  EXPECT_TRUE(names(config).contains("input_blocks.3.0.skip_connection.bias"));
  EXPECT_TRUE(names(config).contains("input_blocks.3.1.qkv.weight"));
  EXPECT_TRUE(names(config).contains("middle_block.1.proj_out.weight"));
  EXPECT_TRUE(names(config).contains("output_blocks.1.2.emb_layers.1.weight"));
  EXPECT_FALSE(names(config).contains("label_emb.weight"));
  config.resblock_updown = false;
  EXPECT_TRUE(names(config).contains("input_blocks.2.0.op.weight"));
  EXPECT_TRUE(names(config).contains("output_blocks.1.2.conv.bias"));
  config.attention_resolutions = {};
  EXPECT_TRUE(names(config).contains("output_blocks.1.1.conv.bias"));
  EXPECT_FALSE(names(config).contains("input_blocks.3.1.qkv.weight"));
  config.conv_resample = false;
  EXPECT_FALSE(names(config).contains("input_blocks.2.0.op.weight"));
  EXPECT_FALSE(names(config).contains("output_blocks.1.1.conv.bias"));
  config.num_classes = 10;
  EXPECT_EQ(names(config).count("label_emb.weight"), 1U);
}

TEST(UNet, WeightsStartAsPyTorchsDo) {
  UNetConfig config = small_unet_config();
  config.num_classes = 9;
  config.null_class = true;
  const UNet net(config, 5);
  for (const auto& [name, parameter] : named_parameters(net)) {
    const at::Tensor p = parameter.detach().to(at::kDouble);
    if (name == "label_emb.weight") {
      EXPECT_EQ(p.sizes().vec(), (std::vector<int64_t>{10, 256}));
      EXPECT_NEAR(p.mean().item<double>(), 0, 5 / std::sqrt(p.numel()));
      EXPECT_NEAR(p.square().mean().item<double>(), 1, 5 * std::sqrt(2.0 / p.numel()));
    } else if (name.ends_with("out_layers.3.weight") || name.ends_with("proj_out.bias") || name == "out.2.weight") {
      EXPECT_EQ(p.abs().max().item<double>(), 0) << name;
    } else if (name.ends_with("norm.weight") || name.ends_with("_layers.0.weight")) {
      EXPECT_EQ((p - 1).abs().max().item<double>(), 0) << name;
    } else if (name.ends_with("in_layers.2.weight") || name.ends_with("qkv.weight") || name == "time_embed.0.weight") {
      const double bound = 1 / std::sqrt(p[0].numel());
      EXPECT_LE(p.abs().max().item<double>(), bound * (1 + 1e-6)) << name;
      EXPECT_GT(p.abs().max().item<double>(), bound * 0.99) << name;
      EXPECT_NEAR(p.square().mean().item<double>(), bound * bound / 3, bound * bound * 2 / std::sqrt(p.numel()))
          << name;
    } else if (name.ends_with("in_layers.2.bias")) {
      const double bound = 1 / std::sqrt(9.0 * 64);
      EXPECT_LE(p.abs().max().item<double>(), bound) << name;
      EXPECT_GT(p.abs().max().item<double>(), 0) << name;
    }
  }
}

TEST(UNet, WeightsAreAFunctionOfTheSeedAndNoTwoParametersShareNumbers) {
  const UNet one(small_unet_config(), 7), same(small_unet_config(), 7), other(small_unet_config(), uint64_t{7} << 32);
  std::set<float> first_numbers;
  size_t drawn = 0;
  for (const auto& [name, parameter] : named_parameters(one)) {
    EXPECT_TRUE(parameter.equal(same.named_parameters()[name])) << name;
    if (!name.ends_with("in_layers.2.weight")) continue;
    EXPECT_FALSE(parameter.equal(other.named_parameters()[name])) << name;
    first_numbers.insert(parameter.flatten()[0].item<float>());
    ++drawn;
  }
  EXPECT_EQ(first_numbers.size(), drawn);
}

TEST(UNet, ZeroInitGivesZeroAndWithoutItDoesNot) {
  UNetConfig config = small_unet_config();
  const at::NoGradGuard no_grad;
  UNet zero(config, 1);
  EXPECT_EQ(zero.forward(normal({2, 3, 8, 8}, 1), times(2, 1)).abs().max().item<float>(), 0);
  config.zero_init = false;
  UNet random(config, 1);
  EXPECT_GT(random.forward(normal({2, 3, 8, 8}, 1), times(2, 1)).abs().max().item<float>(), 0.01);
}

// The largest difference in output or gradients, relative to the largest value of each.
double difference(UNet& a, UNet& b, at::MemoryFormat format_of_b, const DropoutKey* dropout) {
  const at::Tensor x = normal({3, 3, 8, 8}, 2), t = times(3, 3), up = normal({3, 3, 8, 8}, 4);
  const at::Tensor labels = a.config().num_classes > 0 ? at::arange(3) : at::Tensor();
  at::Tensor x_a = x.clone().requires_grad_(), x_b = x.clone().contiguous(format_of_b).requires_grad_();
  const at::Tensor y_a = a.forward(x_a, t, labels, dropout), y_b = b.forward(x_b, t, labels, dropout);
  y_a.backward(up);
  y_b.backward(up);
  double worst = 0;
  const auto compare = [&worst](const at::Tensor& p, const at::Tensor& q) {
    const double largest = p.abs().max().item<double>();
    worst = std::max(worst, (p - q).abs().max().item<double>() / std::max(largest, 1e-3));
  };
  compare(y_a, y_b);
  compare(x_a.grad(), x_b.grad());
  const auto parameters_a = a.parameters(), parameters_b = b.parameters();
  for (size_t i = 0; i < parameters_a.size(); ++i) compare(parameters_a[i].grad(), parameters_b[i].grad());
  return worst;
}

TEST(UNet, ChannelsLastGivesTheSameValues) {
  for (const bool updown : {false, true}) {
    UNetConfig config = small_unet_config();
    config.resblock_updown = updown;
    config.use_scale_shift_norm = updown;
    config.num_classes = 4;
    config.dropout = 0.3;
    const auto planar = shaken_unet(config), last = shaken_unet(config);
    for (auto& parameter : last->parameters()) {
      const at::NoGradGuard no_grad;
      if (parameter.dim() == 4) parameter.set_data(parameter.contiguous(at::MemoryFormat::ChannelsLast));
    }
    const DropoutKey key{1, 2};
    EXPECT_LT(difference(*planar, *last, at::MemoryFormat::ChannelsLast, &key), 2e-5);
  }
}

TEST(UNet, Float32FollowsFloat64) {
  const UNetConfig config = small_unet_config();
  const auto single = shaken_unet(config), twice = shaken_unet(config);
  twice->to(at::kDouble);
  const at::Tensor x = normal({2, 3, 8, 8}, 1), t = times(2, 1);
  const at::NoGradGuard no_grad;
  const at::Tensor expected = twice->forward(x.to(at::kDouble), t.to(at::kDouble));
  ASSERT_EQ(expected.scalar_type(), at::kDouble);
  const double error = (single->forward(x, t) - expected).abs().max().item<double>();
  EXPECT_LT(error / expected.abs().max().item<double>(), 3e-4);  // sin(1000 t) of a float32 t has an error of 6e-5
}

TEST(UNet, ASplitBatchWithDropoutGivesTheSameOutputs) {
  UNetConfig config = small_unet_config();
  config.dropout = 0.2;
  const auto net = shaken_unet(config);
  const at::NoGradGuard no_grad;
  const at::Tensor x = normal({4, 3, 8, 8}, 1), t = times(4, 1);
  const DropoutKey whole{9, 100}, tail{9, 103};
  const at::Tensor joined = net->forward(x, t, {}, &whole);
  EXPECT_LT((net->forward(x.narrow(0, 3, 1), t.narrow(0, 3, 1), {}, &tail) - joined.narrow(0, 3, 1))
                .abs()
                .max()
                .item<float>(),
            2e-5 * joined.abs().max().item<float>());
  const DropoutKey other{9, 104};
  EXPECT_GT((net->forward(x, t, {}, &other) - joined).abs().max().item<float>(), 1e-3);
  EXPECT_GT((net->forward(x, t) - joined).abs().max().item<float>(), 1e-3);
}

TEST(UNet, ANetworkOnGivenTensorsIsThoseTensors) {
  const UNetConfig config = test::small_unet_config();
  const auto net = test::shaken_unet(config);
  auto tensors = named_parameters(*net);
  for (auto& [name, tensor] : tensors) tensor = tensor.detach().clone();
  const auto other = network_on(config, tensors);
  const at::NoGradGuard no_grad;
  const at::Tensor x = test::normal({2, 3, 8, 8}, 1), t = test::times(2, 2);
  EXPECT_TRUE(other->forward(x, t).equal(net->forward(x, t)));
  for (size_t i = 0; i < tensors.size(); ++i) {
    const at::Tensor parameter = named_parameters(*other)[i].second;
    EXPECT_EQ(parameter.data_ptr(), tensors[i].second.data_ptr()) << tensors[i].first;
    EXPECT_FALSE(parameter.requires_grad());
  }
  tensors.back().second.add_(1);  // the bias of the last convolution
  EXPECT_TRUE(at::allclose(other->forward(x, t), net->forward(x, t) + 1, 0, 1e-5));
  std::swap(tensors[0], tensors[1]);
  EXPECT_THROW(network_on(config, tensors), Error);
}

TEST(UNet, TheNullLabelIsTheLastRow) {
  UNetConfig config = small_unet_config();
  config.num_classes = 3;
  config.null_class = true;
  EXPECT_EQ(config.null_label(), 3);
  const auto net = shaken_unet(config);
  const at::NoGradGuard no_grad;
  const at::Tensor x = normal({1, 3, 8, 8}, 1).expand({4, 3, 8, 8}), t = times(1, 1).expand({4});
  const at::Tensor y = net->forward(x, t, at::arange(4));
  for (int i = 1; i < 4; ++i) EXPECT_GT((y[i] - y[0]).abs().max().item<float>(), 1e-4);
}

TEST(UNet, RefusesWhatDoesNotFitAndSaysWhat) {
  UNetConfig config = small_unet_config();
  config.num_classes = 3;
  UNet net(config, 1);
  const at::Tensor x = normal({2, 3, 8, 8}, 1), t = times(2, 1);
  const auto message = [](const auto& call) -> std::string {
    try {
      call();
    } catch (const Error& error) {
      return error.what();
    }
    return "nothing thrown";
  };
  EXPECT_NE(message([&] { net.forward(x, t); }).find("3 classes"), std::string::npos);
  EXPECT_NE(message([&] { net.forward(x, times(3, 1), at::arange(2)); }).find("t"), std::string::npos);
  EXPECT_NE(message([&] { net.forward(x.narrow(3, 0, 4), t, at::arange(2)); }).find("[2,3,8,4]"), std::string::npos);
  EXPECT_NE(message([&] { net.forward(x, t, at::arange(2) + 2); }).find("label"), std::string::npos);
  UNet unconditional(small_unet_config(), 1);
  EXPECT_NE(message([&] { unconditional.forward(x, t, at::arange(2)); }).find("no classes"), std::string::npos);
}

}  // namespace
}  // namespace cfm::models
