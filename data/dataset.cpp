#include "data/dataset.h"

#include <algorithm>

#include "base/error.h"
#include "base/hash.h"

namespace cfm::data {
namespace {

using std::filesystem::path;

std::vector<path> shard_files(const path& place) {
  std::error_code error;
  const auto status = std::filesystem::status(place, error);
  check(std::filesystem::exists(status), "no such file or folder: " + place.string() +
                                             ". Give a folder of HDF5 shards, as cfm_pack writes it, or one shard.");
  if (!std::filesystem::is_directory(status)) return {place};
  std::vector<path> files;
  for (const auto& entry : std::filesystem::directory_iterator(place))
    if (entry.path().extension() == ".h5" || entry.path().extension() == ".hdf5") files.push_back(entry.path());
  check(!files.empty(), "folder " + place.string() + " holds no shards (*.h5, *.hdf5). Write them with cfm_pack.");
  std::ranges::sort(files);
  return files;
}

std::string shape_text(const ImageShape& shape) {
  return std::to_string(shape.channels) + "x" + std::to_string(shape.height) + "x" + std::to_string(shape.width);
}

void check_alike(const Shard& first, const Shard& other) {
  check(first.image_shape() == other.image_shape(),
        "the images of " + first.path().string() + " are " + shape_text(first.image_shape()) + ", those of " +
            other.path().string() + " are " + shape_text(other.image_shape()) + "; expected one shape in a data set.");
  for (const char* name : {"split", "seed", "shards"})
    check(first.attribute(name) == other.attribute(name),
          std::string(name) + " is '" + first.attribute(name) + "' in " + first.path().string() + " and '" +
              other.attribute(name) + "' in " + other.path().string() +
              ": they belong to different packings. Keep each in a folder of its own.");
}

// cfm_pack writes into each shard how many there are.
void check_complete(const std::vector<Shard>& shards, const path& folder) {
  const std::string expected = shards.front().attribute("shards");
  check(expected.empty() || expected == std::to_string(shards.size()),
        "folder " + folder.string() + " holds " + std::to_string(shards.size()) + " of " + expected +
            " shards. Copy the missing ones, or pack again.");
}

std::string fingerprint_of(const std::vector<Shard>& shards) {
  Xxh3 hash;
  const auto add = [&hash](const std::string& text) { hash.update(text.data(), text.size()); };
  add("cfm data set 1\n");
  for (const Shard& shard : shards) {
    add(std::to_string(shard.size()) + " " + shape_text(shard.image_shape()) + "\n");
    add(xxh3_128_hex(shard.labels().data(), shard.labels().size() * sizeof(int64_t)) + "\n");
    for (const std::string& block : shard.block_hashes().empty() ? shard.compute_block_hashes() : shard.block_hashes())
      add(block + "\n");
  }
  return hash.hex();
}

}  // namespace

Dataset Dataset::open(const std::filesystem::path& path) {
  Dataset dataset;
  dataset.path_ = path;
  for (const auto& file : shard_files(path)) {
    dataset.shards_.emplace_back(file);
    check_alike(dataset.shards_.front(), dataset.shards_.back());
    dataset.starts_.push_back(dataset.size_);
    dataset.size_ += dataset.shards_.back().size();
  }
  dataset.starts_.push_back(dataset.size_);
  if (std::filesystem::is_directory(path)) check_complete(dataset.shards_, path);
  dataset.fingerprint_ = fingerprint_of(dataset.shards_);
  return dataset;
}

int64_t Dataset::num_classes() const {
  int64_t largest = 0;
  for (const Shard& shard : shards_) largest = std::max(largest, std::ranges::max(shard.labels()));
  return largest + 1;
}

size_t Dataset::shard_of(int64_t index) const {
  if (index < 0 || index >= size_)
    throw Error("data set " + path_.string() + " has " + std::to_string(size_) + " images; asked for image " +
                std::to_string(index) + ".");
  return static_cast<size_t>(std::ranges::upper_bound(starts_, index) - starts_.begin()) - 1;
}

int64_t Dataset::label(int64_t index) const {
  const size_t shard = shard_of(index);
  return shards_[shard].labels()[static_cast<size_t>(index - starts_[shard])];
}

void Dataset::read(int64_t index, std::span<uint8_t> out) const { read(std::span<const int64_t>(&index, 1), out); }

void Dataset::read(std::span<const int64_t> indices, std::span<uint8_t> out) const {
  const auto bytes = static_cast<size_t>(image_shape().bytes());
  if (out.size() != indices.size() * bytes)
    throw Error("data set " + path_.string() + ": " + std::to_string(indices.size()) + " images take " +
                std::to_string(indices.size() * bytes) + " bytes; given room for " + std::to_string(out.size()) + ".");
  for (size_t i = 0; i < indices.size(); ++i) {
    const size_t shard = shard_of(indices[i]);
    shards_[shard].read(indices[i] - starts_[shard], out.subspan(i * bytes, bytes));
  }
}

int64_t Dataset::verify() const {
  int64_t blocks = 0;
  for (const Shard& shard : shards_) blocks += shard.verify();
  return blocks;
}

}  // namespace cfm::data
