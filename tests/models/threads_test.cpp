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

}  // namespace
}  // namespace cfm::models
