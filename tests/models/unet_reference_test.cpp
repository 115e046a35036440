// The U-Net against a PyTorch model that tests/models/unet_reference.py builds from torch.nn modules: same names, same
// weights, same dropout masks; outputs and all gradients in float64.

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "support/small_unet.h"

namespace cfm::models {
namespace {

using nlohmann::json;
using test::normal;
using test::shaken_unet;
using test::small_unet_config;
using test::times;

constexpr int64_t kBatch = 2;
constexpr DropoutKey kKey{77, 1000};

json to_json(const UNetConfig& c) {
  return {{"image_size", c.image_size},
          {"in_channels", c.in_channels},
          {"out_channels", c.out_channels},
          {"model_channels", c.model_channels},
          {"num_res_blocks", c.num_res_blocks},
          {"channel_mult", c.channel_mult},
          {"attention_resolutions", c.attention_resolutions},
          {"num_heads", c.num_heads},
          {"num_head_channels", c.num_head_channels},
          {"num_heads_upsample", c.num_heads_upsample},
          {"use_new_attention_order", c.use_new_attention_order},
          {"use_scale_shift_norm", c.use_scale_shift_norm},
          {"resblock_updown", c.resblock_updown},
          {"conv_resample", c.conv_resample},
          {"num_classes", c.num_classes},
          {"null_class", c.null_class},
          {"time_scale", c.time_scale}};
}

std::vector<UNetConfig> configs() {
  std::vector<UNetConfig> all;
  const auto add = [&all](const auto& change) {
    UNetConfig config = small_unet_config();
    change(config);
    all.push_back(config);
  };
  add([](UNetConfig&) {});  // scale-shift, resblock up/down, new order
  add([](UNetConfig& c) {   // torchcfm's kind
    c.use_scale_shift_norm = false;
    c.resblock_updown = false;
    c.use_new_attention_order = false;
    c.num_head_channels = 16;
    c.dropout = 0.1;
    c.time_scale = 1;
  });
  add([](UNetConfig& c) {  // flow_matching's kind, with labels
    c.resblock_updown = false;
    c.conv_resample = false;
    c.num_res_blocks = 2;
    c.num_heads = 1;
    c.dropout = 0.3;
    c.num_classes = 3;
    c.null_class = true;
    c.time_scale = 1;
  });
  add([](UNetConfig&
             c) {  // three levels of other widths, attention everywhere, learned variance's channels, grey images
    c.channel_mult = {2, 1, 3};
    c.attention_resolutions = {8, 4, 2};
    c.in_channels = 1;
    c.out_channels = 2;
    c.num_heads = 4;
    c.num_heads_upsample = 2;
    c.use_new_attention_order = false;
    c.num_classes = 5;
    c.dropout = 0.2;
    c.activation_checkpointing = true;
  });
  add([](UNetConfig& c) {  // no attention but in the middle, one level
    c.channel_mult = {1};
    c.attention_resolutions = {};
    c.use_scale_shift_norm = false;
  });
  return all;
}

// Shapes of the inputs of the network's dropouts, in the order of the layers: [B,C,H,W] of every residual block's end.
std::vector<std::vector<int64_t>> mask_shapes(const UNetConfig& config) {
  std::vector<std::vector<int64_t>> shapes;
  int64_t size = config.image_size;
  const auto block = [&](int64_t mult) { shapes.push_back({kBatch, config.model_channels * mult, size, size}); };
  for (size_t level = 0; level < config.channel_mult.size(); ++level) {
    for (int64_t i = 0; i < config.num_res_blocks; ++i) block(config.channel_mult[level]);
    if (level + 1 == config.channel_mult.size()) break;
    size /= 2;
    if (config.resblock_updown) block(config.channel_mult[level]);
  }
  block(config.channel_mult.back());
  block(config.channel_mult.back());
  for (size_t level = config.channel_mult.size(); level-- > 0;) {
    for (int64_t i = 0; i <= config.num_res_blocks; ++i) block(config.channel_mult[level]);
    if (level == 0) break;
    size *= 2;
    if (config.resblock_updown) block(config.channel_mult[level]);
  }
  return shapes;
}

class Reference : public testing::Test {
 protected:
  Reference() : folder_(std::filesystem::temp_directory_path() / ("cfm_unet_" + std::to_string(getpid()))) {
    std::filesystem::create_directories(folder_);
  }
  ~Reference() override { std::filesystem::remove_all(folder_); }

  void write(const std::string& name, const std::vector<at::Tensor>& tensors) const {
    std::ofstream file(folder_ / name, std::ios::binary);
    for (const at::Tensor& tensor : tensors) {
      const at::Tensor dense = tensor.detach().to(at::kDouble).contiguous();
      file.write(static_cast<const char*>(dense.const_data_ptr()), static_cast<std::streamsize>(dense.nbytes()));
    }
  }

  at::Tensor read(const std::string& name) const {
    const auto size = static_cast<int64_t>(std::filesystem::file_size(folder_ / name));
    at::Tensor values = at::empty({size / 8}, at::kDouble);
    std::ifstream(folder_ / name, std::ios::binary).read(static_cast<char*>(values.mutable_data_ptr()), size);
    return values;
  }

  std::filesystem::path folder_;
};

TEST_F(Reference, OutputAndGradientsAgreeTo1e10InFloat64) {
  json cases = json::array();
  std::vector<at::Tensor> results;  // of each case: output and gradients, joined
  std::vector<std::vector<std::string>> parts;
  const std::vector<UNetConfig> all = configs();
  for (const UNetConfig& config : all) {
    const auto net = shaken_unet(config, 20 + cases.size());
    net->to(at::kDouble);
    const at::Tensor x = normal({kBatch, config.in_channels, config.image_size, config.image_size}, 1).to(at::kDouble);
    const at::Tensor t = times(kBatch, 2).to(at::kDouble);
    const at::Tensor labels =
        config.num_classes > 0 ? at::tensor(std::vector<int64_t>{1, config.num_classes - (config.null_class ? 0 : 1)})
                               : at::Tensor();
    const at::Tensor up =
        normal({kBatch, config.out_channels, config.image_size, config.image_size}, 3).to(at::kDouble);
    std::vector<at::Tensor> inputs;
    json parameters = json::array(), masks = json::array();
    for (const auto& [name, parameter] : named_parameters(*net)) {
      parameters.push_back({name, parameter.sizes().vec()});
      inputs.push_back(parameter);
    }
    inputs.insert(inputs.end(), {x, t});
    if (labels.defined()) inputs.push_back(labels);
    inputs.push_back(up);
    uint32_t layer = 0;
    if (config.dropout > 0) {
      for (const auto& shape : mask_shapes(config)) {
        masks.push_back(shape);
        inputs.push_back(keyed_dropout(at::ones(shape, at::kDouble), config.dropout, kKey, layer++));
      }
    }
    write(std::to_string(cases.size()) + ".in.bin", inputs);
    cases.push_back({{"config", to_json(config)}, {"batch", kBatch}, {"parameters", parameters}, {"masks", masks}});

    const at::Tensor leaf = x.clone().requires_grad_();
    const at::Tensor y = net->forward(leaf, t, labels, &kKey);
    y.backward(up);
    std::vector<at::Tensor> values{y.detach().flatten(), leaf.grad().flatten()};
    std::vector<std::string> names{"output", "x"};
    for (const auto& [name, parameter] : named_parameters(*net)) {
      values.push_back(parameter.grad().flatten());
      names.push_back(name);
    }
    results.push_back(at::cat(values));
    parts.push_back(names);
    ASSERT_TRUE(results.back().isfinite().all().item<bool>());
  }
  std::ofstream(folder_ / "cases.json") << cases;
  const std::string command =
      std::string(CFM_PYTHON) + " " + CFM_SOURCE_DIR + "/tests/models/unet_reference.py " + folder_.string();
  ASSERT_EQ(std::system(command.c_str()), 0) << command;

  const json names = json::parse(std::ifstream(folder_ / "names.json"));
  for (size_t i = 0; i < cases.size(); ++i) {
    EXPECT_EQ(names[i], cases[i]["parameters"]) << "names, shapes and their order in case " << i;
    const at::Tensor expected = read(std::to_string(i) + ".out.bin");
    ASSERT_EQ(expected.numel(), results[i].numel());
    int64_t at = 0;
    for (size_t part = 0; part < parts[i].size(); ++part) {
      const UNetConfig& config = all[i];
      int64_t size = 1;
      if (part < 2) {
        size = kBatch * (part == 0 ? config.out_channels : config.in_channels) * config.image_size * config.image_size;
      } else {
        for (const int64_t n : cases[i]["parameters"][part - 2][1]) size *= n;
      }
      const at::Tensor theirs = expected.narrow(0, at, size), ours = results[i].narrow(0, at, size);
      const double largest = theirs.abs().max().item<double>();
      EXPECT_GT(largest, 0) << parts[i][part];
      EXPECT_LT((ours - theirs).abs().max().item<double>(), 1e-10 * largest) << parts[i][part] << " in case " << i;
      at += size;
    }
    EXPECT_EQ(at, expected.numel());
  }
}

}  // namespace
}  // namespace cfm::models
