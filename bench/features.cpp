// bench_features WEIGHTS.safetensors IMAGES.safetensors THREADS: answers a line of standard input with a line of JSON.
//   features      seconds of the Inception features of all images ("images", uint8 NCHW), the sum of the features
//   same_pixels   the Inception features of the images "whole", one behind the other
//   distance      seconds of the Frechet distance of the file's two Gaussians, the distance

#include <ATen/Parallel.h>

#include <chrono>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/error.h"
#include "checkpoint/safetensors.h"
#include "evaluator/feature_network.h"
#include "evaluator/feature_pass.h"
#include "evaluator/frechet.h"

namespace cfm {
namespace {

double sum_of_features(const evaluator::FeatureNetwork& network, const at::Tensor& images) {
  double sum = 0;
  for (int64_t first = 0; first < images.size(0); first += evaluator::kFeatureBatch) {
    const int64_t n = std::min(evaluator::kFeatureBatch, images.size(0) - first);
    sum += network.features_of(images.narrow(0, first, n)).features.sum().item<double>();
  }
  return sum;
}

}  // namespace
}  // namespace cfm

int main(int argc, char** argv) try {
  cfm::check(argc == 4, "usage: bench_features WEIGHTS IMAGES THREADS");
  at::set_num_threads(std::stoi(argv[3]));
  const auto network = cfm::evaluator::load_feature_network("inception:" + std::string(argv[1]), c10::kCPU);
  const auto file = cfm::checkpoint::read_safetensors(argv[2]);
  const std::map<std::string, at::Tensor> given(file.tensors.begin(), file.tensors.end());
  for (std::string what; std::cin >> what;) {
    if (what == "same_pixels") {
      const at::Tensor all = network.features_of(given.at("whole")).features.to(at::kDouble).contiguous();
      const std::vector<double> values(all.const_data_ptr<double>(), all.const_data_ptr<double>() + all.numel());
      std::cout << nlohmann::json{{"values", values}}.dump() << std::endl;
      continue;
    }
    const auto start = std::chrono::steady_clock::now();
    const double value = what == "features"
                             ? cfm::sum_of_features(network, given.at("images"))
                             : cfm::evaluator::frechet_distance({given.at("mean_1"), given.at("covariance_1")},
                                                                {given.at("mean_2"), given.at("covariance_2")});
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    std::cout << nlohmann::json{{"seconds", seconds.count()}, {"value", value}}.dump() << std::endl;
  }
  return 0;
} catch (const std::exception& error) {
  std::cerr << "bench_features: " << error.what() << '\n';
  return 2;
}
