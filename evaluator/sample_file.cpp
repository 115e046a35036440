#include "evaluator/sample_file.h"

#include <unistd.h>

#include <cmath>
#include <cstring>

#include "base/durable_file.h"
#include "base/error.h"
#include "base/shape.h"
#include "data/dataset.h"
#include "data/image_file.h"
#include "data/npz.h"

namespace cfm::evaluator {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMargin = 2;  // source pixels around each tile
constexpr uint8_t kBackground = 32;

data::Image grid_of(const std::vector<data::Image>& tiles, const GridLayout& layout) {
  const auto count = static_cast<int64_t>(tiles.size());
  const auto square = static_cast<int64_t>(std::ceil(std::sqrt(static_cast<double>(count))));
  const int64_t columns = std::min(count, layout.columns > 0 ? layout.columns : square);
  return data::image_grid(tiles, columns, kMargin * layout.zoom, kBackground, layout.zoom);
}

std::vector<data::Image> tiles_of(const at::Tensor& images) {
  const data::ImageShape shape{images.size(1), images.size(2), images.size(3)};
  std::vector<data::Image> tiles;
  for (int64_t i = 0; i < images.size(0); ++i) {
    const uint8_t* const pixels = images.const_data_ptr<uint8_t>() + i * shape.bytes();
    tiles.push_back({shape, {pixels, pixels + shape.bytes()}});
  }
  return tiles;
}

void write_grid(const fs::path& file, const at::Tensor& images, const GridLayout& layout) {
  const std::vector<data::Image> tiles = tiles_of(images);
  const data::Image samples = grid_of(tiles, layout);
  if (layout.beside.empty()) {
    data::write_png(file, samples);
    return;
  }
  const data::Image real = grid_of(layout.beside, layout);
  data::write_png(file, data::image_grid({samples, real}, 2, 4 * kMargin * layout.zoom, /*background=*/128));
}

template <typename T>
std::vector<uint8_t> bytes_of(const T* values, size_t count) {
  std::vector<uint8_t> bytes(count * sizeof(T));
  if (count > 0) std::memcpy(bytes.data(), values, bytes.size());
  return bytes;
}

void write_arrays(const fs::path& file, const at::Tensor& images, const std::vector<int64_t>& labels) {
  const at::Tensor nhwc = images.permute({0, 2, 3, 1}).contiguous();
  std::map<std::string, data::NumpyArray> arrays;
  arrays["arr_0"] = {"|u1", nhwc.sizes().vec(),
                     bytes_of(nhwc.const_data_ptr<uint8_t>(), static_cast<size_t>(nhwc.numel()))};
  if (!labels.empty()) {
    arrays["arr_1"] = {"<i8", {static_cast<int64_t>(labels.size())}, bytes_of(labels.data(), labels.size())};
  }
  data::write_npz(file, arrays);
}

}  // namespace

void check_writable(const fs::path& file, const std::string& name) {
  const std::string flag = name + "=" + file.string();
  check(file.extension() == ".png" || file.extension() == ".npz",
        flag + ": expected a name that ends in .png (a grid) or .npz");
  const fs::path folder = file.has_parent_path() ? file.parent_path() : ".";
  std::error_code error;
  check(fs::is_directory(folder, error), flag + ": there is no folder " + folder.string());
  check(!fs::is_directory(file, error), flag + " is a folder: give a file's name");
  const fs::path probe = folder / (".cfm_sample_probe_" + std::to_string(::getpid()));
  try {
    DurableFile(probe).append("x", 1);
  } catch (const Error& e) {
    fs::remove(probe, error);
    throw Error(flag + ": the folder cannot be written to: " + e.what(), e.exit_code());
  }
  fs::remove(probe, error);
}

std::vector<data::Image> read_beside(const std::string& shards, int64_t count, data::ImageShape shape,
                                     data::Hdf5Process& hdf5) {
  data::DatasetOptions options;
  options.hdf5 = &hdf5;
  options.data_mode = "pread";  // a few images of many
  data::DatasetOptions looking = options;
  looking.metadata_only = true;
  const data::Dataset seen = data::Dataset::open(shards, looking);
  for (const data::Shard& shard : seen.shards())
    check(shard.plan().access != data::Access::kOnePass, "--beside=" + shards + " (" + shard.plan().storage +
                                                             ") can only be read whole, and a few images are wanted. " +
                                                             "Pack it: cfm_pack --source=" + shards + " --out=DIR");
  const data::Dataset dataset = data::Dataset::open(shards, options);
  check(dataset.size() >= count, "--beside=" + shards + " has " + std::to_string(dataset.size()) +
                                     " images, fewer than --count=" + std::to_string(count));
  check(dataset.image_shape() == shape, "--beside=" + shards + " has images of " +
                                            data::shape_text(dataset.image_shape()) + ", the samples are of " +
                                            data::shape_text(shape));
  std::vector<data::Image> images;
  for (int64_t i = 0; i < count; ++i) {
    images.push_back({shape, std::vector<uint8_t>(static_cast<size_t>(shape.bytes()))});
    dataset.read(i, images.back().pixels);
  }
  return images;
}

void write_samples(const fs::path& file, const at::Tensor& images, const std::vector<int64_t>& labels,
                   const GridLayout& layout) {
  check_shape(images, {-1, -1, -1, -1}, "images");
  if (file.extension() == ".png") {
    write_grid(file, images, layout);
  } else {
    write_arrays(file, images, labels);
  }
}

void write_trajectories(const fs::path& file, const flow::Trajectories& trajectories) {
  check_shape(trajectories.x, {-1, static_cast<int64_t>(trajectories.times.size()), -1, -1, -1}, "trajectories");
  const at::Tensor x = trajectories.x.to(at::kFloat).contiguous();
  std::map<std::string, data::NumpyArray> arrays;
  arrays["x"] = {"<f4", x.sizes().vec(), bytes_of(x.const_data_ptr<float>(), static_cast<size_t>(x.numel()))};
  arrays["t"] = {"<f8",
                 {static_cast<int64_t>(trajectories.times.size())},
                 bytes_of(trajectories.times.data(), trajectories.times.size())};
  data::write_npz(file, arrays);
}

}  // namespace cfm::evaluator
