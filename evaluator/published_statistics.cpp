#include "evaluator/published_statistics.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <span>

#include "base/error.h"
#include "base/shape.h"
#include "checkpoint/safetensors.h"
#include "data/array_file.h"
#include "models/named_tensors.h"

namespace cfm::evaluator {
namespace {

namespace fs = std::filesystem;

// A float32 or float64 array as float64.
at::Tensor read_array(const fs::path& npz, const std::string& key) {
  const data::ArrayFile array = data::open_npz(npz, key, fs::temp_directory_path(), /*verify=*/true);
  const std::string name = "array " + key + " of " + npz.string();
  const bool is_float = array.type == "<f4", is_double = array.type == "<f8";
  check((is_float || is_double) && !array.fortran_order, name + " is " + data::type_name(array.type) +
                                                             (array.fortran_order ? " in Fortran order" : "") +
                                                             "; expected float32 or float64 in C order");
  at::Tensor values = at::empty(array.shape, is_float ? at::kFloat : at::kDouble);
  check(array.bytes.size == values.nbytes(), name + " is truncated: it has " + std::to_string(array.bytes.size) +
                                                 " bytes, its shape takes " + std::to_string(values.nbytes()));
  data::read_at(array.bytes, 0, {static_cast<uint8_t*>(values.mutable_data_ptr()), values.nbytes()});
  models::check_finite(name, values);
  return values.to(at::kDouble);
}

Gaussian read_gaussian(const fs::path& npz, const std::string& mean, const std::string& covariance) {
  Gaussian gaussian{read_array(npz, mean), read_array(npz, covariance)};
  const std::string where = npz.string();
  check(gaussian.mean.dim() == 1, where + ": " + mean + " is " + shape_text(gaussian.mean.sizes()) + ", expected [d]");
  const int64_t d = gaussian.mean.size(0);
  check_shape(gaussian.covariance, {d, d}, where + ": " + covariance);
  const double asymmetry = (gaussian.covariance - gaussian.covariance.t()).abs().max().item<double>();
  check(asymmetry <= 1e-4 * gaussian.covariance.abs().max().item<double>(),
        where + ": " + covariance + " is not symmetric, so it is no covariance");
  check(gaussian.covariance.diagonal().min().item<double>() >= 0,
        where + ": " + covariance + " has a negative variance, so it is no covariance");
  gaussian.covariance = (gaussian.covariance + gaussian.covariance.t()) / 2;
  return gaussian;
}

}  // namespace

PublishedStatistics read_published_statistics(const fs::path& place, const FeatureNetwork& network) {
  PublishedStatistics published;
  std::error_code error;
  if (place.extension() != ".npz" || !fs::is_regular_file(place, error)) return published;
  const std::vector<data::ArrayFile> arrays = data::list_npz(place);
  const auto has = [&](const char* key) {
    return std::ranges::find(arrays, key, &data::ArrayFile::key) != arrays.end();
  };
  published.has_images = has("arr_0");
  published.hash = checkpoint::file_hash(place);
  check(published.has_images || (has("mu") && has("sigma")),
        "--reference=" + place.string() + " holds neither images (arr_0) nor statistics (mu and sigma)");
  if (!has("mu") || !has("sigma")) return published;
  const auto of_width = [&](const char* mean, const char* covariance, int64_t width) {
    Gaussian gaussian = read_gaussian(place, mean, covariance);
    const int64_t found = gaussian.mean.size(0);
    check(found == width, "--reference=" + place.string() + ": " + mean + " has " + std::to_string(found) +
                              " numbers, --features=" + network.name + " gives " + std::to_string(width) +
                              ": the statistics are of another network's features");
    return gaussian;
  };
  published.features = of_width("mu", "sigma", network.dimensions);
  if (has("mu_s") && has("sigma_s") && network.spatial_dimensions > 0)
    published.spatial = of_width("mu_s", "sigma_s", network.spatial_dimensions);
  return published;
}

}  // namespace cfm::evaluator
