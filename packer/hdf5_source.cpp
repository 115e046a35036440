#include "packer/hdf5_source.h"

#include <algorithm>
#include <memory>
#include <optional>

#include "base/error.h"
#include "data/dataset.h"
#include "data/spool_file.h"

namespace cfm::packer {
namespace {

using data::Shard;

// A file of a set, as its images are read.
struct Part {
  const Shard* shard;
  int64_t first;                              // of the set's images
  std::optional<data::ByteSource> spooled{};  // where its images lie CHW, one after another; none: in the file
};

struct Parts {
  std::shared_ptr<const data::Dataset> dataset;
  std::vector<Part> parts;

  std::pair<const Part*, int64_t> find(int64_t image) const {
    const auto after = std::ranges::upper_bound(parts, image, {}, &Part::first);
    const Part* part = &*std::prev(after);
    return {part, image - part->first};
  }
};

// All images of a file that pread cannot serve, into a temporary file.
data::ByteSource spool(const Shard& shard, const SourceOptions& options, std::vector<std::string>& notes) {
  data::SpoolFile file(options.spool_folder);
  data::for_all_images(shard, options.hdf5, [&](int64_t, std::span<const uint8_t> pixels) { file.append(pixels); });
  if (file.on_disk())
    notes.push_back(spool_note(shard.path().string() + " (" + shard.plan().storage + ") was read",
                               static_cast<uint64_t>(shard.size() * shard.image_shape().bytes()), options));
  return file.bytes("the images of " + shard.path().string());
}

data::Image image_of(const Parts& parts, int64_t image) {
  const auto [part, place] = parts.find(image);
  const auto bytes = static_cast<size_t>(part->shard->image_shape().bytes());
  data::Image read{part->shard->image_shape(), std::vector<uint8_t>(bytes)};
  if (part->spooled) {
    part->spooled->read(static_cast<uint64_t>(place) * bytes, read.pixels);
  } else {
    parts.dataset->read(image, read.pixels);
  }
  return read;
}

}  // namespace

ImageSource open_hdf5(const std::filesystem::path& path, const SourceOptions& options) {
  data::DatasetOptions reading;
  reading.hdf5 = options.hdf5;
  reading.metadata_only = true;
  reading.zero_labels = true;
  auto dataset = std::make_shared<data::Dataset>(data::Dataset::open(path, reading));
  dataset->open_for_reading();
  ImageSource source;
  auto parts = std::make_shared<Parts>();
  for (const Shard& shard : dataset->shards()) {
    if (options.verify && shard.is_ours() && shard.plan().access != data::Access::kOnePass) shard.verify();
    if (shard.facts().labels_name.empty())
      source.notes.push_back(shard.path().string() + " comes without labels: every label is 0");
    Part part{.shard = &shard, .first = source.size()};
    if (shard.plan().access == data::Access::kOnePass) part.spooled = spool(shard, options, source.notes);
    parts->parts.push_back(std::move(part));
    source.labels.insert(source.labels.end(), shard.labels().begin(), shard.labels().end());
  }
  const Shard& first = dataset->shards().front();
  if (dataset->labels_from_one()) source.notes.push_back(path.string() + ": labels 1 to 1000 are taken as 0 to 999");
  source.description = path.string() + ", " + std::to_string(dataset->shards().size()) + " HDF5 file" +
                       (dataset->shards().size() == 1 ? "" : "s") + ", " + first.plan().storage;
  source.raw = true;
  parts->dataset = std::move(dataset);
  source.read = [parts](int64_t i) { return image_of(*parts, i); };
  source.image_name = [parts](int64_t i) {
    const auto [part, place] = parts->find(i);
    return "image " + std::to_string(place) + " of " + part->shard->path().string();
  };
  return source;
}

}  // namespace cfm::packer
