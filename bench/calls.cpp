// bench_calls WEIGHTS.safetensors BATCH THREADS: answers a line of standard input with a line of JSON.
//   calls   seconds of a network call of BATCH samples: "forward" alone, "with_gradient" as a likelihood makes it

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <iostream>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/error.h"
#include "evaluator/network_flow.h"
#include "flow/divergence.h"

namespace cfm {
namespace {

double median_seconds(const std::function<void()>& call) {
  std::vector<double> seconds;
  for (int i = 0; i < 10; ++i) {
    const auto start = std::chrono::steady_clock::now();
    call();
    seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  std::ranges::nth_element(seconds, seconds.begin() + 5);
  return seconds[5];
}

}  // namespace
}  // namespace cfm

int main(int argc, char** argv) try {
  cfm::check(argc == 4, "usage: bench_calls WEIGHTS BATCH THREADS");
  at::set_num_threads(std::stoi(argv[3]));
  const at::NoGradGuard no_gradients;
  cfm::evaluator::WeightsChoice choice;
  choice.weights_file = argv[1];
  const cfm::checkpoint::Weights weights = cfm::evaluator::load_weights(choice);
  const auto network = cfm::evaluator::network_flow(weights, [](int64_t) { return int64_t{0}; });
  const cfm::flow::Field field = cfm::flow::with_divergence(network.velocity, {});
  const cfm::models::UNetConfig& model = weights.info.model;
  const int64_t batch = std::stoll(argv[2]);
  const at::Tensor x = at::zeros({batch, model.in_channels, model.image_size, model.image_size});
  const at::Tensor t = at::full({batch}, 0.5, at::kDouble);
  const std::vector<int64_t> samples(static_cast<size_t>(batch));
  for (std::string what; std::cin >> what;) {
    const double forward = cfm::median_seconds([&] { field.at({x, t, samples}, /*wants_rate=*/false); });
    const double with_gradient = cfm::median_seconds([&] { field.at({x, t, samples}, /*wants_rate=*/true); });
    std::cout << nlohmann::json{{"forward", forward}, {"with_gradient", with_gradient}}.dump() << std::endl;
  }
  return 0;
} catch (const std::exception& error) {
  std::cerr << "bench_calls: " << error.what() << '\n';
  return 2;
}
