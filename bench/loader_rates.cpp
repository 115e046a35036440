// bench_loader DATA BATCH: what one core delivers of a data set, window by window, as standard input asks. Lines
// and their answers, one line of JSON each:
//   rate SOURCE SECONDS    items delivered in a window of that length, its seconds and CPU seconds
//   check SOURCE STRIDE    a sum over the bytes and labels of all images, of those whose index STRIDE divides
// A source is made when it is first named; that is not in its window. It delivers batches of BATCH images:
//   auto, ram, pread       the whole loader in that --data_mode: order, gather, labels, ring
//   draws                  auto, and the numbers that the trainer draws for a batch
//   memcpy                 images copied from huge-page memory by a random order made before, and nothing else
//   pread_single, h5dread  Dataset::read and H5Dread image by image by that order; dataspaces are made once
//   normal, randn          no images: standard normals, ours and LibTorch's; items are numbers
// Whoever starts it pins it to a core.

#include <ATen/ops/empty.h>
#include <hdf5.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <ctime>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/philox.h"
#include "data/dataset.h"
#include "data/hdf5_id.h"
#include "data/loader.h"
#include "data/planar.h"
#include "flow/draws.h"

namespace {

using namespace cfm;  // NOLINT: a program of one file

constexpr uint64_t kSeed = 1;
constexpr int64_t kPlaces = data::LoaderConfig{}.ahead;  // of the ring

struct Delivered {
  std::vector<int64_t> ids;
  const uint8_t* images = nullptr;  // null: items are numbers, `numbers` of them
  const int64_t* labels = nullptr;  // null: not delivered
  int64_t numbers = 0;
};
using Source = std::function<Delivered()>;

// ---- the whole loader ----

Source loader_source(const std::string& path, const std::string& mode, int64_t batch, bool draws) {
  struct Kept {
    data::Dataset dataset;
    std::unique_ptr<data::Loader> loader;
    data::Batch batch;
  };
  const auto kept = std::make_shared<Kept>(Kept{data::Dataset::open(path, {.data_mode = mode}), nullptr, {}});
  const flow::DrawConfig config{.seed = kSeed, .horizontal_flip = true};
  std::function<void(data::Batch&)> prepare;
  if (draws)
    prepare = [config](data::Batch& made) {
      made.extra = flow::make_draws(
          config, {.images_seen = static_cast<uint64_t>(made.first_draw), .count = made.images.size(0)},
          made.images.sizes().slice(1));
    };
  kept->loader = std::make_unique<data::Loader>(kept->dataset, data::LoaderConfig{.seed = kSeed, .global_batch = batch},
                                                0, 0, prepare);
  return [kept] {
    kept->batch = {};  // as in the trainer, nobody holds a batch when the next is asked for
    kept->batch = kept->loader->next();
    return Delivered{kept->batch.image_ids, kept->batch.images.const_data_ptr<uint8_t>(),
                     kept->batch.labels.const_data_ptr<int64_t>(), 0};
  };
}

// ---- image by image, by an order made before ----

using ReadImage = std::function<void(int64_t, uint8_t*)>;

// As many batch-sized buffers as the loader has places, in huge pages.
template <class Read>
Source ordered_source(int64_t images, int64_t image_bytes, int64_t batch, Read read) {
  struct Kept {
    std::vector<uint32_t> order;
    data::ImageMemory buffers;
    Read read;
    int64_t position = 0, turn = 0;
  };
  const std::shared_ptr<Kept> kept(new Kept{data::permutation(kSeed, 0, images),
                                            data::ImageMemory(static_cast<uint64_t>(kPlaces * batch * image_bytes), {}),
                                            std::move(read)});
  return [kept, images, image_bytes, batch] {
    uint8_t* const out = kept->buffers.bytes().data() + kept->turn++ % kPlaces * batch * image_bytes;
    Delivered delivered{{}, out, nullptr, 0};
    delivered.ids.reserve(static_cast<size_t>(batch));
    for (int64_t i = 0; i < batch; ++i) {
      const int64_t id = kept->order[static_cast<size_t>(kept->position++ % images)];
      kept->read(id, out + i * image_bytes);
      delivered.ids.push_back(id);
    }
    return delivered;
  };
}

std::shared_ptr<data::Dataset> dataset_of(const std::string& path, const std::string& mode) {
  return std::make_shared<data::Dataset>(data::Dataset::open(path, {.data_mode = mode}));
}

Source memcpy_source(const std::string& path, int64_t batch) {
  const auto dataset = dataset_of(path, "auto");
  const int64_t bytes = dataset->image_shape().bytes();
  const auto memory = std::make_shared<data::ImageMemory>(static_cast<uint64_t>(dataset->size() * bytes), Ranks{});
  for (int64_t i = 0; i < dataset->size(); ++i)
    dataset->read(i, memory->bytes().subspan(static_cast<size_t>(i * bytes), static_cast<size_t>(bytes)));
  return ordered_source(dataset->size(), bytes, batch, [memory, bytes](int64_t id, uint8_t* out) {
    std::memcpy(out, memory->bytes().data() + id * bytes, static_cast<size_t>(bytes));
  });
}

Source pread_source(const std::string& path, int64_t batch) {
  const auto dataset = dataset_of(path, "pread");
  const auto bytes = static_cast<size_t>(dataset->image_shape().bytes());
  return ordered_source(dataset->size(), dataset->image_shape().bytes(), batch,
                        [dataset, bytes](int64_t id, uint8_t* out) {
                          dataset->read(id, {out, bytes});
                        });
}

// The images of one file by libhdf5.
class Hdf5Images {
 public:
  explicit Hdf5Images(const data::Shard& shard)
      : access_(H5Pcreate(H5P_FILE_ACCESS), H5Pclose),
        file_((H5Pset_file_locking(access_.get(), false, true),  // as data/ opens it, or the two would not agree
               H5Fopen(shard.path().c_str(), H5F_ACC_RDONLY, access_.get())),
              H5Fclose),
        images_(H5Dopen2(file_.get(), shard.facts().images_name.c_str(), H5P_DEFAULT), H5Dclose),
        all_(H5Dget_space(images_.get()), H5Sclose),
        start_(shard.facts().shape.size(), 0),
        extent_(shard.facts().shape.begin(), shard.facts().shape.end()),
        one_(H5Screate_simple(static_cast<int>(extent_.size()), (extent_[0] = 1, extent_.data()), nullptr), H5Sclose) {}
  void read(int64_t image, uint8_t* out) {
    start_[0] = static_cast<hsize_t>(image);
    check(H5Sselect_hyperslab(all_.get(), H5S_SELECT_SET, start_.data(), nullptr, extent_.data(), nullptr) >= 0 &&
              H5Dread(images_.get(), H5T_NATIVE_UINT8, one_.get(), all_.get(), H5P_DEFAULT, out) >= 0,
          "H5Dread of image " + std::to_string(image) + " failed");
  }

 private:
  data::Hdf5Id access_, file_, images_, all_;
  std::vector<hsize_t> start_, extent_;
  data::Hdf5Id one_;
};

Source h5dread_source(const std::string& path, int64_t batch) {
  struct Kept {
    std::vector<std::unique_ptr<Hdf5Images>> files;
    std::vector<int64_t> ends;
  };
  const data::Dataset dataset = data::Dataset::open(path, {.metadata_only = true});
  const auto kept = std::make_shared<Kept>();
  for (const data::Shard& shard : dataset.shards()) {
    kept->files.push_back(std::make_unique<Hdf5Images>(shard));
    kept->ends.push_back((kept->ends.empty() ? 0 : kept->ends.back()) + shard.size());
  }
  return ordered_source(dataset.size(), dataset.image_shape().bytes(), batch, [kept](int64_t id, uint8_t* out) {
    const auto file = static_cast<size_t>(std::ranges::upper_bound(kept->ends, id) - kept->ends.begin());
    kept->files[file]->read(id - (file == 0 ? 0 : kept->ends[file - 1]), out);
  });
}

// ---- numbers ----

Source numbers_source(const std::string& path, int64_t batch, bool ours) {
  const data::ImageShape shape = dataset_of(path, "auto")->image_shape();
  const at::Tensor numbers = at::empty({batch, shape.channels, shape.height, shape.width}, at::kFloat);
  const auto first = std::make_shared<uint64_t>(0);
  return [=] {
    if (ours) {
      const auto row = static_cast<size_t>(shape.bytes());
      for (int64_t i = 0; i < batch; ++i)
        fill_normal({numbers.mutable_data_ptr<float>() + static_cast<size_t>(i) * row, row},
                    {kSeed, Purpose::kNoise, (*first)++});
    } else {
      numbers.normal_();
    }
    return Delivered{{}, nullptr, nullptr, numbers.numel()};
  };
}

Source make_source(const std::string& name, const std::string& path, int64_t batch) {
  if (name == "auto" || name == "ram" || name == "pread") return loader_source(path, name, batch, false);
  if (name == "draws") return loader_source(path, "auto", batch, true);
  if (name == "memcpy") return memcpy_source(path, batch);
  if (name == "pread_single") return pread_source(path, batch);
  if (name == "h5dread") return h5dread_source(path, batch);
  if (name == "normal" || name == "randn") return numbers_source(path, batch, name == "normal");
  throw Error("there is no source '" + name + "'");
}

// ---- what is asked ----

double cpu_seconds() {
  timespec now{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

nlohmann::json rate(const Source& source, double seconds) {
  using Clock = std::chrono::steady_clock;
  const auto since = [](Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
  };
  for (int64_t i = 0; i < 2 * kPlaces; ++i) source();  // what was made while nobody measured
  int64_t items = 0;
  const double cpu = cpu_seconds();
  const auto start = Clock::now();
  double passed = 0;
  while (passed < seconds) {
    const Delivered delivered = source();
    items += delivered.images != nullptr ? static_cast<int64_t>(delivered.ids.size()) : delivered.numbers;
    passed = since(start);
  }
  return {{"items", items}, {"seconds", passed}, {"cpu_seconds", cpu_seconds() - cpu}};
}

// Sum mod 2^64 over images of (label + 1) times the sum over bytes of value times (1 + place mod 251).
nlohmann::json check_sum(const std::string& name, const std::string& path, int64_t batch_size, int64_t stride) {
  const Source source = make_source(name, path, batch_size);
  const data::Dataset dataset = data::Dataset::open(path, {.metadata_only = true});
  const bool as_stored = name == "h5dread" && dataset.shards().front().plan().interleaved;
  const auto bytes = static_cast<size_t>(dataset.image_shape().bytes());
  std::vector<uint8_t> planar(bytes);
  uint64_t sum = 0;
  int64_t images = 0;
  for (int64_t taken = 0; taken < dataset.size();) {
    const Delivered batch = source();
    for (size_t i = 0; i < batch.ids.size() && taken < dataset.size(); ++i, ++taken) {
      if (batch.ids[i] % stride != 0) continue;
      uint64_t of_image = 0;
      std::span<const uint8_t> pixels(batch.images + i * bytes, bytes);
      if (as_stored) data::to_planar(pixels, dataset.image_shape(), planar), pixels = planar;
      for (size_t place = 0; place < bytes; ++place) of_image += pixels[place] * (1 + place % 251);
      const int64_t label = batch.labels != nullptr ? batch.labels[i] : dataset.label(batch.ids[i]);
      sum += static_cast<uint64_t>(label + 1) * of_image;
      ++images;
    }
  }
  return {{"sum", sum}, {"images", images}};
}

}  // namespace

int main(int argc, char** argv) try {
  check(argc == 3, "usage: bench_loader DATA BATCH");
  const std::string path = argv[1];
  const int64_t batch = std::stoll(argv[2]);
  std::map<std::string, Source> sources;
  std::string what, name;
  for (double number = 0; std::cin >> what >> name >> number;) {
    nlohmann::json answer;
    if (what == "check") {
      answer = check_sum(name, path, batch, static_cast<int64_t>(number));
    } else {
      const double before = cpu_seconds();
      if (!sources.contains(name)) sources[name] = make_source(name, path, batch);
      const double opening = cpu_seconds() - before;
      answer = rate(sources[name], number);
      answer["open_cpu_seconds"] = opening;
    }
    std::cout << answer.dump() << std::endl;
  }
  return 0;
} catch (const std::exception& error) {
  std::cerr << "bench_loader: " << error.what() << '\n';
  return 2;
}
