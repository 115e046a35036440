#include "toy/result_files.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <numbers>
#include <numeric>

#include "base/durable_file.h"
#include "data/npz.h"
#include "toy/checkerboard.h"

namespace cfm::toy {
namespace {

constexpr size_t kLosses = 50;  // means that the file holds

template <typename T>
data::NumpyArray array_of(const std::string& type, const std::vector<int64_t>& shape, const T* values, size_t count) {
  std::vector<uint8_t> bytes(count * sizeof(T));
  if (count > 0) std::memcpy(bytes.data(), values, bytes.size());
  return {type, shape, bytes};
}

data::NumpyArray array_of(const std::vector<double>& values) {
  return array_of("<f8", {static_cast<int64_t>(values.size())}, values.data(), values.size());
}

data::NumpyArray array_of(const std::vector<int64_t>& values) {
  return array_of("<i8", {static_cast<int64_t>(values.size())}, values.data(), values.size());
}

data::NumpyArray array_of(const at::Tensor& values) {
  assert(values.scalar_type() == at::kFloat);
  const at::Tensor dense = values.contiguous();
  return array_of("<f4", dense.sizes().vec(), dense.const_data_ptr<float>(), static_cast<size_t>(dense.numel()));
}

double mean_of(const double* first, const double* last) {
  return std::accumulate(first, last, 0.0) / static_cast<double>(last - first);
}

// Means of equally many neighbours, at most kLosses of them: [steps made, loss] each.
nlohmann::json thinned(const std::vector<double>& losses) {
  nlohmann::json means = nlohmann::json::array();
  const size_t each = std::max<size_t>(1, (losses.size() + kLosses - 1) / kLosses);
  for (size_t i = 0; i < losses.size(); i += each) {
    const size_t end = std::min(losses.size(), i + each);
    means.push_back({end, mean_of(losses.data() + i, losses.data() + end)});
  }
  return means;
}

// Mean of -log p, and its standard error.
struct MeanNll {
  double nats, standard_error;
};
MeanNll nll_of(const std::vector<double>& log_p) {
  const auto n = static_cast<double>(log_p.size());
  const double mean = mean_of(log_p.data(), log_p.data() + log_p.size());
  double squares = 0;
  for (const double value : log_p) squares += (value - mean) * (value - mean);
  return {-mean, std::sqrt(squares / (n - 1) / n)};
}

int64_t parameter_count(const models::Mlp& net) {
  int64_t count = 0;
  for (const at::Tensor& parameter : net.parameters()) count += parameter.numel();
  return count;
}

}  // namespace

void write_points(const std::filesystem::path& file, const Points& points) {
  std::map<std::string, data::NumpyArray> arrays;
  if (points.x.defined()) {
    arrays = {{"t", array_of(points.t)},
              {"x", array_of(points.x)},
              {"nfe", array_of(points.nfe)},
              {"few", array_of(points.few)},
              {"step", array_of(points.step)},
              {"training", array_of(points.training)},
              {"trajectory_t", array_of(points.trajectory_t)},
              {"trajectory", array_of(points.trajectory)}};
  }
  arrays["points"] = array_of(points.points);
  arrays["log_p"] = array_of(points.log_p);
  arrays["points_nfe"] = array_of(points.points_nfe);
  data::write_npz(file, arrays);
}

std::string write_result(const std::filesystem::path& file, const ExperimentConfig& config, const Trained& trained,
                         const Points& points, const Seconds& seconds) {
  const TrainingConfig& training = config.training;
  const MeanNll nll = nll_of(points.log_p);
  const auto nfe = static_cast<double>(std::accumulate(points.points_nfe.begin(), points.points_nfe.end(), int64_t{0}));
  const nlohmann::json result{
      {"path", training.flow_config.path.path},
      {"objective", training.flow_config.objective},
      {"time_sampling", training.times.time_sampling},
      {"seed", training.seed},
      {"steps", training.steps},
      {"global_batch", training.global_batch},
      {"lr", training.lr},
      {"width", training.model.width},
      {"layers", training.model.layers},
      {"time_frequencies", training.model.time_frequencies},
      {"parameters", parameter_count(*trained.net)},
      {"threads", config.threads},
      {"net_batch", config.net_batch},
      {"losses", thinned(trained.losses)},
      {"nll_count", config.nll_count},
      {"tolerance", config.tolerance},
      {"nll_nats", nll.nats},
      {"nll_standard_error", nll.standard_error},
      {"nll_nfe", nfe / static_cast<double>(config.nll_count)},
      {"entropy_nats", checkerboard_entropy()},
      {"seconds", {{"training", seconds.training}, {"likelihood", seconds.likelihood}, {"samples", seconds.samples}}}};
  write_durably(file, result.dump(1) + "\n");
  char line[200];
  std::snprintf(line, sizeof line,
                "%-9s %-3s seed %llu  NLL %.4f +- %.4f nats (entropy %.4f)  training %.1f s  likelihood %.1f s  "
                "samples %.1f s",
                training.flow_config.objective.c_str(), training.flow_config.path.path.c_str(),
                static_cast<unsigned long long>(training.seed), nll.nats, nll.standard_error, checkerboard_entropy(),
                seconds.training, seconds.likelihood, seconds.samples);
  return line;
}

}  // namespace cfm::toy
