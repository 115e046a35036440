// The small network of linear layers, against one that tests/models/mlp_reference.py builds from torch.nn modules.
#include "models/mlp.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "support/flow_tensors.h"

namespace cfm::models {
namespace {

using nlohmann::json;
using tests::some_normals;

const MlpConfig kSmall{.dimensions = 3, .width = 11, .layers = 4, .time_frequencies = 5};

void write_doubles(const std::filesystem::path& path, const std::vector<at::Tensor>& tensors) {
  std::ofstream file(path, std::ios::binary);
  for (const at::Tensor& tensor : tensors) {
    const at::Tensor dense = tensor.detach().to(at::kDouble).contiguous();
    file.write(static_cast<const char*>(dense.const_data_ptr()), static_cast<std::streamsize>(dense.nbytes()));
  }
}

at::Tensor read_doubles(const std::filesystem::path& path) {
  const auto size = static_cast<int64_t>(std::filesystem::file_size(path));
  at::Tensor values = at::empty({size / 8}, at::kDouble);
  std::ifstream(path, std::ios::binary).read(static_cast<char*>(values.mutable_data_ptr()), size);
  return values;
}

TEST(Mlp, OutputAndGradientsAreThoseOfTorchModulesInFloat64) {
  constexpr int64_t kBatch = 6;
  Mlp net(kSmall, 5);
  net.to(at::kDouble);
  {
    const at::NoGradGuard no_grad;
    unsigned seed = 1;
    for (at::Tensor& parameter : net.parameters()) parameter.copy_(some_normals(parameter.sizes().vec(), seed++));
  }
  const at::Tensor x = some_normals({kBatch, 3}, 21).requires_grad_(), up = some_normals({kBatch, 3}, 22);
  const at::Tensor t = at::linspace(0, 1, kBatch, at::kDouble);
  const at::Tensor out = net.forward(x, t);
  out.backward(up);

  std::vector<at::Tensor> inputs = net.parameters(), results{out.detach().flatten(), x.grad().flatten()};
  json names = json::array();
  for (const auto& parameter : net.named_parameters()) {
    names.push_back({parameter.key(), parameter.value().sizes().vec()});
    results.push_back(parameter.value().grad().flatten());
  }
  inputs.insert(inputs.end(), {x, t, up});
  const auto folder = std::filesystem::temp_directory_path() / ("cfm_mlp_" + std::to_string(getpid()));
  std::filesystem::create_directories(folder);
  write_doubles(folder / "in.bin", inputs);
  std::ofstream(folder / "case.json") << json{
      {"dimensions", 3}, {"width", 11}, {"layers", 4}, {"time_frequencies", 5}, {"batch", kBatch}};
  const std::string command =
      std::string(CFM_PYTHON) + " " + CFM_SOURCE_DIR + "/tests/models/mlp_reference.py " + folder.string();
  ASSERT_EQ(std::system(command.c_str()), 0) << command;
  EXPECT_EQ(json::parse(std::ifstream(folder / "names.json")), names);
  const at::Tensor expected = read_doubles(folder / "out.bin"), ours = at::cat(results);
  std::filesystem::remove_all(folder);
  ASSERT_EQ(expected.numel(), ours.numel());
  EXPECT_GT(expected.narrow(0, 0, kBatch * 3).abs().min().item<double>(), 0);
  EXPECT_LT(((ours - expected).abs() / (1 + expected.abs())).max().item<double>(), 1e-12);
}

TEST(Mlp, StartsAtZeroAndIsDrawnByItsSeed) {
  const Mlp net({}, 1), again({}, 1), other({}, 2);
  EXPECT_EQ(net.forward(at::ones({4, 2}), at::rand({4})).abs().max().item<float>(), 0);
  EXPECT_TRUE(at::equal(net.parameters()[0], again.parameters()[0]));
  EXPECT_FALSE(at::equal(net.parameters()[0], other.parameters()[0]));
  // PyTorch's: uniform within 1/sqrt(inputs), here 2 + 2 * 8 of them.
  const at::Tensor first = net.parameters()[0].detach() * std::sqrt(18.0);
  EXPECT_LE(first.abs().max().item<float>(), 1);
  EXPECT_NEAR(first.square().mean().item<float>(), 1.0 / 3, 0.02);
}

TEST(Mlp, ParameterCountIsThatOfItsLayers) {
  int64_t count = 0;
  for (const at::Tensor& parameter : Mlp({}, 0).parameters()) count += parameter.numel();
  EXPECT_EQ(count, (18 + 1) * 512 + 3 * (512 + 1) * 512 + (512 + 1) * 2);
}

}  // namespace
}  // namespace cfm::models
