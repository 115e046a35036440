#include "evaluator/image_source.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <numeric>
#include <span>
#include <vector>

#include "base/error.h"
#include "base/hash.h"
#include "checkpoint/safetensors.h"
#include "data/array_file.h"
#include "data/dataset.h"
#include "data/file_names.h"
#include "data/image_file.h"
#include "data/planar.h"
#include "parallel/node_layout.h"

namespace cfm::evaluator {
namespace {

namespace fs = std::filesystem;
using data::ImageShape;

at::Tensor room_for(int64_t n, const ImageShape& shape) {
  return at::empty({n, shape.channels, shape.height, shape.width}, at::kByte);
}

std::span<uint8_t> bytes_of(at::Tensor& images) { return {images.mutable_data_ptr<uint8_t>(), images.nbytes()}; }

std::string text_of(int64_t count, const ImageShape& shape) {
  return std::to_string(count) + " images of " + data::shape_text(shape);
}

// ---- HDF5 ----

ImageSource shards(const std::string& flag, const fs::path& place, const parallel::MpiSession& session,
                   data::Hdf5Process& hdf5) {
  data::DatasetOptions options;
  options.data_mode = "pread";
  options.ranks = parallel::ranks_of(session, parallel::node_layout(session));
  options.hdf5 = &hdf5;
  options.metadata_only = true;
  options.zero_labels = true;  // they are not looked at
  auto dataset = std::make_shared<data::Dataset>(data::Dataset::open(place, options));
  const bool in_one_pass = std::ranges::any_of(
      dataset->shards(), [](const data::Shard& s) { return s.plan().access == data::Access::kOnePass; });
  if (in_one_pass) {
    options.data_mode = "ram";
    options.metadata_only = false;
    dataset = std::make_shared<data::Dataset>(data::Dataset::open(place, options));
  } else {
    parallel::agree_on(session, [&] { dataset->open_for_reading(); });
  }
  ImageSource source;
  source.count = dataset->size();
  source.shape = dataset->image_shape();
  source.what = flag + " " + place.string() + ": " + text_of(source.count, source.shape);
  source.identity = {{"dataset_fingerprint", dataset->fingerprint().files},
                     {"dataset_images_fingerprint", dataset->fingerprint().images}};
  source.split = dataset->split();
  source.read = [dataset](int64_t first, int64_t n) {
    std::vector<int64_t> indices(static_cast<size_t>(n));
    std::iota(indices.begin(), indices.end(), first);
    at::Tensor images = room_for(n, dataset->image_shape());
    dataset->read(indices, bytes_of(images));
    return ImageBlock{images};
  };
  return source;
}

// ---- .npz ----

struct ImageArray {
  data::ArrayFile array;
  ImageShape shape;
  bool interleaved = false;
};

ImageArray open_array(const std::string& flag, const fs::path& npz, bool verify) {
  ImageArray images{data::open_npz(npz, "arr_0", fs::temp_directory_path(), verify), {}, false};
  const std::vector<int64_t>& sizes = images.array.shape;
  const auto is_channels = [](int64_t size) { return size == 1 || size == 3; };
  const std::string found =
      flag + "=" + npz.string() + ": arr_0 is " + data::type_name(images.array.type) + " " + data::shape_text(sizes);
  check(images.array.type == "|u1" && sizes.size() == 4 && !images.array.fortran_order &&
            (is_channels(sizes[3]) || is_channels(sizes[1])),
        found + "; expected uint8 images (N,H,W,C) or (N,C,H,W) with 1 or 3 channels");
  images.interleaved = is_channels(sizes[3]);
  images.shape =
      images.interleaved ? ImageShape{sizes[3], sizes[1], sizes[2]} : ImageShape{sizes[1], sizes[2], sizes[3]};
  check(images.shape.bytes() > 0, found + ": images without pixels");
  return images;
}

at::Tensor read_array(const ImageArray& array, int64_t first, int64_t n) {
  at::Tensor images = room_for(n, array.shape);
  const auto bytes = static_cast<size_t>(array.shape.bytes());
  const std::span<uint8_t> out = bytes_of(images);
  if (!array.interleaved) {
    data::read_at(array.array.bytes, static_cast<uint64_t>(first) * bytes, out);
    return images;
  }
  std::vector<uint8_t> stored(out.size());
  data::read_at(array.array.bytes, static_cast<uint64_t>(first) * bytes, stored);
  for (size_t i = 0; i < static_cast<size_t>(n); ++i)
    data::to_planar(std::span(stored).subspan(i * bytes, bytes), array.shape, out.subspan(i * bytes, bytes));
  return images;
}

ImageSource array_images(const std::string& flag, const fs::path& npz, const parallel::MpiSession& session) {
  ImageSource source;
  parallel::agree_on(session, [&] {
    const auto array = std::make_shared<ImageArray>(open_array(flag, npz, /*verify=*/session.rank() == 0));
    source.count = array->array.shape[0];
    source.shape = array->shape;
    source.what = flag + " " + npz.string() + ": " + text_of(source.count, source.shape);
    source.read = [array](int64_t first, int64_t n) { return ImageBlock{read_array(*array, first, n)}; };
    if (session.rank() == 0) source.identity["file_xxh3"] = checkpoint::file_hash(npz);
  });
  source.identity["file_xxh3"] = session.control().broadcast(source.identity["file_xxh3"]);
  return source;
}

// ---- pictures ----

std::vector<fs::path> pictures_in(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.is_regular_file() && data::is_image_name(entry.path())) files.push_back(entry.path());
  std::ranges::sort(files);
  return files;
}

std::string hash_of(const std::vector<fs::path>& files) {
  Xxh3 hash;
  for (const fs::path& file : files) {
    const std::string own = checkpoint::file_hash(file);
    hash.update(own.data(), own.size());
  }
  return hash.hex();
}

at::Tensor read_pictures(const std::vector<fs::path>& files, const ImageShape& shape, int64_t first, int64_t n) {
  at::Tensor images = room_for(n, shape);
  for (int64_t i = 0; i < n; ++i) {
    const fs::path& file = files[static_cast<size_t>(first + i)];
    const data::Image image = data::read_image(file);
    check(image.shape == shape, file.string() + " is an image of " + data::shape_text(image.shape) + ", " +
                                    files.front().string() + " of " + data::shape_text(shape) +
                                    ": expected pictures of one shape");
    std::ranges::copy(image.pixels, bytes_of(images).subspan(static_cast<size_t>(i * shape.bytes())).begin());
  }
  return images;
}

ImageSource pictures(const std::string& flag, const fs::path& folder, const parallel::MpiSession& session) {
  ImageSource source;
  parallel::agree_on(session, [&] {
    const std::vector<fs::path> files = pictures_in(folder);
    check(!files.empty(), flag + "=" + folder.string() +
                              ": the folder holds no pictures (.png, .jpg) and no HDF5 "
                              "files (.h5, .hdf5)");
    source.count = static_cast<int64_t>(files.size());
    source.shape = data::read_image(files.front()).shape;
    source.what = flag + " " + folder.string() + ": " + text_of(source.count, source.shape);
    source.read = [files, shape = source.shape](int64_t first, int64_t n) {
      return ImageBlock{read_pictures(files, shape, first, n)};
    };
    if (session.rank() == 0) source.identity["files_xxh3"] = hash_of(files);
  });
  source.identity["files_xxh3"] = session.control().broadcast(source.identity["files_xxh3"]);
  return source;
}

bool holds_hdf5(const fs::path& folder) {
  return std::ranges::any_of(fs::directory_iterator(folder),
                             [](const fs::directory_entry& entry) { return data::is_hdf5_name(entry.path()); });
}

}  // namespace

ImageSource open_image_source(const std::string& flag, const std::string& place, const parallel::MpiSession& session,
                              data::Hdf5Process& hdf5) {
  std::string kind;
  parallel::agree_on(session, [&] {
    if (session.rank() != 0) return;
    std::error_code error;
    check(fs::exists(place, error), flag + "=" + place + ": there is no such file or folder");
    const fs::path path = place;
    if (fs::is_directory(path)) {
      kind = holds_hdf5(path) ? "shards" : "pictures";
    } else {
      kind = path.extension() == ".npz" ? "array" : "shards";
      check(kind == "array" || data::is_hdf5_name(path),
            flag + "=" + place + ": expected a folder, or a file that ends in .h5, .hdf5 or .npz");
    }
  });
  kind = session.control().broadcast(kind);
  ImageSource source = kind == "shards"  ? shards(flag, place, session, hdf5)
                       : kind == "array" ? array_images(flag, place, session)
                                         : pictures(flag, place, session);
  parallel::agree_on(session, [&] { check(source.count > 0, flag + "=" + place + " holds no images"); });
  return source;
}

}  // namespace cfm::evaluator
