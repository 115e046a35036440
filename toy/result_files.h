#pragma once
// What an experiment leaves: points.npz (toy/experiment.h) and result.json.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "toy/experiment.h"

namespace cfm::toy {

// As points.npz has them.
struct Points {
  std::vector<double> t, trajectory_t, log_p;
  std::vector<int64_t> nfe, step, points_nfe;
  at::Tensor x, few, training, trajectory;  // undefined: left out
  at::Tensor points;
};

struct Seconds {
  double training = 0, likelihood = 0, samples = 0;
};

void write_points(const std::filesystem::path& file, const Points& points);

// Writes settings, losses and the likelihood's mean; returns the line that tells of it.
std::string write_result(const std::filesystem::path& file, const ExperimentConfig& config, const Trained& trained,
                         const Points& points, const Seconds& seconds);

}  // namespace cfm::toy
