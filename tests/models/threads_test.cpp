// at::parallel_for in models/ uses LibTorch's threads, and there is one OpenMP runtime in the process.

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <fstream>
#include <set>
#include <string>

#include "models/dropout.h"
#include "support/small_unet.h"

namespace cfm::models {
namespace {

TEST(Threads, ThereIsOneOpenMpRuntime) {
  std::ifstream maps("/proc/self/maps");
  std::set<std::string> runtimes;
  for (std::string line; std::getline(maps, line);) {
    const size_t path = line.find('/');
    if (path == std::string::npos) continue;
    const std::string file = line.substr(path);
    if (file.find("libgomp") != std::string::npos || file.find("libomp") != std::string::npos ||
        file.find("libiomp") != std::string::npos) {
      runtimes.insert(file);
    }
  }
  EXPECT_EQ(runtimes.size(), 1U);
}

TEST(Threads, ResultsDoNotDependOnTheirNumber) {
  UNetConfig config = test::small_unet_config();
  config.dropout = 0.1;
  const at::Tensor h = test::normal({8, 64, 16, 16}, 1), last = h.contiguous(at::MemoryFormat::ChannelsLast);
  std::vector<at::Tensor> results;
  for (const int threads : {1, 2, 3}) {
    at::set_num_threads(threads);
    results.push_back(keyed_dropout(h, 0.2, {1, 2}, 3));
    results.push_back(keyed_dropout(last, 0.2, {1, 2}, 3));
    results.push_back(UNet(config, 5).parameters().back());
  }
  at::set_num_threads(1);
  for (size_t i = 3; i < results.size(); ++i) EXPECT_TRUE(results[i].equal(results[i % 3])) << i;
}

// LibTorch's convolutions and products may add in another order with another number of threads: up to rounding, no
// further. (The same number gives the same bits: evaluator/sample_test.)
TEST(Threads, AForwardPassDependsOnTheirNumberByRoundingOnly) {
  const at::NoGradGuard no_grad;
  for (const bool torchcfm : {true, false}) {
    UNetConfig config;
    config.num_head_channels = 64;
    config.use_new_attention_order = config.use_scale_shift_norm = config.resblock_updown = !torchcfm;
    const auto net = test::shaken_unet(config);
    const at::Tensor x = test::normal({2, 3, 32, 32}, 1), t = test::times(2, 2);
    at::set_num_threads(1);
    const at::Tensor expected = net->forward(x, t);
    EXPECT_TRUE(net->forward(x, t).equal(expected)) << "not even the same number of threads gives the same bits";
    for (const int threads : {2, 3}) {
      at::set_num_threads(threads);
      const at::Tensor found = net->forward(x, t);
      EXPECT_LT(((found - expected).norm() / expected.norm()).item<double>(), 1e-5) << threads << " threads";
      EXPECT_TRUE(net->forward(x, t).equal(found)) << threads << " threads";
    }
  }
  at::set_num_threads(1);
}

}  // namespace
}  // namespace cfm::models
