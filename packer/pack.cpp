#include "packer/pack.h"

#include <algorithm>
#include <future>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>

#include "base/durable_file.h"
#include "base/log.h"
#include "base/philox.h"
#include "data/dataset.h"
#include "data/sample_order.h"
#include "data/shard_writer.h"
#include "packer/grey_levels.h"
#include "packer/image_source.h"
#include "packer/new_folder.h"
#include "packer/progress.h"

namespace cfm::packer {
namespace {

using data::Image;
using data::ImageShape;
using std::filesystem::path;

constexpr size_t kBlock = 1024;  // images decoded before they are written

std::string size_text(const ImageShape& shape) {
  return std::to_string(shape.width) + "x" + std::to_string(shape.height) + " pixels, " +
         std::to_string(shape.channels) + (shape.channels == 1 ? " channel" : " channels");
}

// One packing while it runs.
class Packing {
 public:
  Packing(const PackConfig& config, const ImageSource& source)
      : config_(config),
        source_(source),
        threads_(config.threads > 0 ? config.threads : std::thread::hardware_concurrency()) {
    check(config.first < source.size() && config.count <= source.size() - config.first,
          "--first=" + std::to_string(config.first) + " --count=" + std::to_string(config.count) + ": the source has " +
              std::to_string(source.size()) + " images.");
    images_ = config.count > 0 ? config.count : source.size() - config.first;
    check(config.shards <= images_, "--shards=" + std::to_string(config.shards) + " for " + std::to_string(images_) +
                                        " images: expected at least one each.");
  }

  // All shards into `folder`. Returns the names of the images that could not be read.
  std::vector<std::string> write(const path& folder) {
    find_shape();
    const auto order = data::permutation(Stream{config_.seed, Purpose::kPackShuffle, 0}, images_);
    Progress progress(images_);
    for (int64_t shard = 0; shard < config_.shards; ++shard) {
      std::vector<int64_t> ids;
      for (int64_t i = shard * images_ / config_.shards; i < (shard + 1) * images_ / config_.shards; ++i)
        ids.push_back(config_.first + order[static_cast<size_t>(i)]);
      write_shard(folder, shard, std::move(ids), progress);
    }
    return unreadable_;
  }

 private:
  struct Loaded {
    std::optional<Image> image;
    std::string reason;  // why there is none
  };

  void find_shape();
  void write_shard(const path& folder, int64_t shard, std::vector<int64_t> ids, Progress& progress);
  std::vector<int64_t> try_shard(const path& file, int64_t shard, const std::vector<int64_t>& ids, Progress& progress);
  std::vector<Loaded> load(std::span<const int64_t> ids) const;
  Loaded load_one(int64_t id) const;
  Image fitted(Image image, int64_t id) const;
  std::map<std::string, std::string> attributes(int64_t shard) const;

  const PackConfig& config_;
  const ImageSource& source_;
  const int64_t threads_;
  int64_t images_ = 0;
  ImageShape shape_;
  int64_t first_readable_ = 0;
  std::vector<std::string> unreadable_;
};

// The shape of the first image that can be read is that of all.
void Packing::find_shape() {
  for (int64_t id = config_.first; id < config_.first + images_; ++id) try {
      shape_ = source_.read(id).shape;
      first_readable_ = id;
      if (config_.channels > 0) shape_.channels = config_.channels;
      if (config_.size > 0) shape_.height = shape_.width = config_.size;  // resized to it, or refused
      return;
    } catch (const Error&) {
      // Named when its shard is written, unless there is no shard to write.
    }
  throw Error("none of the " + std::to_string(images_) + " images of " + source_.description +
              " can be read. The first: " + load_one(config_.first).reason);
}

Packing::Loaded Packing::load_one(int64_t id) const {
  Image image;
  try {
    image = resized(source_.read(id), config_.resize, config_.size);
  } catch (const Error& error) {
    return {std::nullopt, error.what()};
  }
  return {fitted(std::move(image), id), ""};
}

// The image as it goes into a shard; Error if it does not belong with the others.
Image Packing::fitted(Image image, int64_t id) const {
  if (image.shape.channels == 3 && shape_.channels == 1)
    throw Error(source_.image_name(id) + " has 3 channels, " + source_.image_name(first_readable_) +
                " or --channels asks for 1. Pack with --channels=3.");
  image = data::with_channels(std::move(image), shape_.channels);
  if (image.shape != shape_)
    throw Error(source_.image_name(id) + " has " + size_text(image.shape) + "; expected " + size_text(shape_) +
                (config_.size > 0 ? ", as --size asks" : ", as " + source_.image_name(first_readable_)) +
                ". Give --resize=box or adm with --size, or resize the images first.");
  if (config_.grey_levels > 0) try {
      spread_grey_levels(image, config_.grey_levels, config_.seed, id);
    } catch (const Error& error) {
      throw Error(source_.image_name(id) + ": " + error.what());
    }
  return image;
}

std::vector<Packing::Loaded> Packing::load(std::span<const int64_t> ids) const {
  std::vector<Loaded> loaded(ids.size());
  std::vector<std::future<void>> parts;
  const auto stride = static_cast<size_t>(std::max<int64_t>(1, threads_));
  for (size_t part = 0; part < std::min(stride, ids.size()); ++part)
    parts.push_back(std::async(std::launch::async, [&, part] {
      for (size_t i = part; i < ids.size(); i += stride) loaded[i] = load_one(ids[i]);
    }));
  for (auto& part : parts) part.wait();
  for (auto& part : parts) part.get();
  return loaded;
}

std::map<std::string, std::string> Packing::attributes(int64_t shard) const {
  std::map<std::string, std::string> attributes{
      {"source", source_.description + ", images " + std::to_string(config_.first) + " to " +
                     std::to_string(config_.first + images_ - 1) + " of " + std::to_string(source_.size())},
      {"resize", resize_word(config_.resize)},
      {"split", config_.split},
      {"shard", std::to_string(shard)},
      {"shards", std::to_string(config_.shards)},
      {"seed", std::to_string(config_.seed)}};
  if (config_.grey_levels > 0) attributes["grey_levels"] = std::to_string(config_.grey_levels);
  nlohmann::ordered_json label_map = nlohmann::ordered_json::object();
  for (size_t label = 0; label < source_.class_names.size(); ++label) label_map[source_.class_names[label]] = label;
  attributes["label_map"] = label_map.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  return attributes;
}

// Writes `file` if every image can be read; returns those that can.
std::vector<int64_t> Packing::try_shard(const path& file, int64_t shard, const std::vector<int64_t>& ids,
                                        Progress& progress) {
  data::ShardWriter writer(file, shape_, static_cast<int64_t>(ids.size()), attributes(shard));
  std::vector<int64_t> readable;
  for (size_t begin = 0; begin < ids.size(); begin += kBlock) {
    const std::span<const int64_t> block(ids.data() + begin, std::min(kBlock, ids.size() - begin));
    const std::vector<Loaded> loaded = load(block);
    for (size_t i = 0; i < block.size(); ++i) {
      if (loaded[i].image) {
        readable.push_back(block[i]);
        writer.append(loaded[i].image->pixels, source_.labels[static_cast<size_t>(block[i])]);
      } else {
        warn("unreadable: " + loaded[i].reason);
        unreadable_.push_back(source_.image_name(block[i]));
      }
    }
    progress.add(static_cast<int64_t>(block.size()));
  }
  if (readable.size() == ids.size()) writer.finish();
  return readable;
}

// A shard's size stands in its first bytes, so one that has lost images is written a second time, without them.
void Packing::write_shard(const path& folder, int64_t shard, std::vector<int64_t> ids, Progress& progress) {
  char name[32];
  std::snprintf(name, sizeof name, "-%05d-of-%05d.h5", static_cast<int>(shard), static_cast<int>(config_.shards));
  const path file = folder / (config_.split + name);
  std::vector<int64_t> readable = try_shard(file, shard, ids, progress);
  while (readable.size() < ids.size() && config_.allow_unreadable) {
    check(!readable.empty(),
          "no image of shard " + std::to_string(shard) +
              " can be read. Pack into fewer shards than --shards=" + std::to_string(config_.shards) + ".");
    ids = std::exchange(readable, {});
    Progress again(static_cast<int64_t>(ids.size()));
    readable = try_shard(file, shard, ids, again);
  }
}

int64_t bytes_of(const data::Dataset& dataset) {
  int64_t bytes = 0;
  for (const data::Shard& shard : dataset.shards())
    bytes += static_cast<int64_t>(std::filesystem::file_size(shard.path()));
  return bytes;
}

}  // namespace

Problems PackConfig::validate() const {
  Problems problems;
  const auto require = [&problems](bool ok, const std::string& problem) {
    if (!ok) problems.push_back(problem);
  };
  require(!source.empty(), "--source is missing: a folder of images, FILE.tar, FILE.npz, or FILE.npy[,LABELS.npy].");
  require(!out.empty(), "--out is missing: the folder in which the split's folder is made.");
  require(!split.empty() &&
              std::ranges::all_of(split, [](unsigned char c) { return std::isalnum(c) || c == '_' || c == '-'; }),
          "--split=" + split + ": expected a name of letters, digits, _ and -.");
  require(shards >= 1 && shards <= 99999, "--shards=" + std::to_string(shards) + ": expected 1 to 99999.");
  require(size >= 0, "--size=" + std::to_string(size) + ": expected 0 (as the first image) or more.");
  require(resize == Resize::kNone || size > 0,
          "--resize=" + resize_word(resize) + " needs --size, the height and width to resize to.");
  require(channels == 0 || channels == 1 || channels == 3,
          "--channels=" + std::to_string(channels) + ": expected auto, 1 or 3.");
  require(first >= 0, "--first=" + std::to_string(first) + ": expected 0 or more.");
  require(count >= 0, "--count=" + std::to_string(count) + ": expected 0 (all) or more.");
  require(grey_levels == 0 || (grey_levels >= 2 && grey_levels <= 256),
          "--grey_levels=" + std::to_string(grey_levels) + ": expected 0 (pixels are bytes) or 2 to 256.");
  require(threads >= 0, "--threads=" + std::to_string(threads) + ": expected 0 (as many as cores) or more.");
  return problems;
}

PackReport pack(const PackConfig& config) {
  check_no_problems(config.validate());
  PackReport report;
  report.folder = config.out / config.split;
  check(config.overwrite || !std::filesystem::exists(report.folder),
        report.folder.string() + " exists. Give another --out or --split, or --overwrite to replace it.");
  const ImageSource source = open_source(config.source, {.split = config.split, .spool_folder = config.out});
  for (const std::string& note : source.notes) warn(note);
  Packing packing(config, source);

  NewFolder folder(report.folder, config.split);
  report.unreadable = packing.write(folder.place());
  check(report.unreadable.empty() || config.allow_unreadable,
        std::to_string(report.unreadable.size()) +
            " images cannot be read (named above), so nothing was written. Repair or remove "
            "them, or leave them out with --allow_unreadable.");
  data::Dataset::open(folder.place()).verify();
  folder.commit();

  const data::Dataset dataset = data::Dataset::open(report.folder);
  report.images = dataset.size();
  report.shards = static_cast<int64_t>(dataset.shards().size());
  report.classes = dataset.num_classes();
  report.bytes = bytes_of(dataset);
  report.image_shape = dataset.image_shape();
  report.fingerprint = dataset.fingerprint();
  return report;
}

}  // namespace cfm::packer
