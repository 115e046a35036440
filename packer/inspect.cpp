#include "packer/inspect.h"

#include <algorithm>
#include <vector>

#include "data/dataset.h"
#include "data/fingerprint.h"
#include "data/npz.h"
#include "packer/progress.h"

namespace cfm::packer {
namespace {

std::string line(std::string name, const std::string& value) {
  name.resize(14, ' ');
  return "  " + name + value + "\n";
}

std::string array_text(const data::NumpyArray& array) {
  std::string text = array.type == "|u1" ? "uint8 (" : array.type == "<i4" ? "int32 (" : "int64 (";
  for (const int64_t size : array.shape) text += (text.ends_with('(') ? "" : ",") + std::to_string(size);
  return text + ")";
}

std::string classes_text(const data::Dataset& dataset) {
  std::vector<int64_t> counts(static_cast<size_t>(dataset.num_classes()), 0);
  for (const data::Shard& shard : dataset.shards())
    for (const int64_t label : shard.labels()) ++counts[static_cast<size_t>(label)];
  const auto [fewest, most] = std::ranges::minmax(counts);
  return grouped(dataset.num_classes()) + ", of " + grouped(fewest) + " to " + grouped(most) + " images";
}

// Empty if a shard brings none.
std::string images_fingerprint(const data::Dataset& dataset) {
  data::ImagesFingerprint sum;
  for (const data::Shard& shard : dataset.shards()) {
    const std::string hex = shard.attribute("images_xxh3_sum");
    if (hex.empty()) return "";
    sum.add(data::ImagesFingerprint::from_hex(hex));
  }
  return sum.hex();
}

std::string dataset_text(const std::filesystem::path& path) {
  const data::Dataset dataset = data::Dataset::open(path);
  const data::Shard& first = dataset.shards().front();
  const data::ImageShape shape = dataset.image_shape();
  const int64_t blocks = dataset.verify();
  std::string text = path.string() + "\n";
  text += line("shards", grouped(static_cast<int64_t>(dataset.shards().size())));
  text += line("images", grouped(dataset.size()));
  text += line("shape", std::to_string(shape.channels) + "x" + std::to_string(shape.height) + "x" +
                            std::to_string(shape.width) + " (C,H,W), uint8");
  text += line("classes", classes_text(dataset));
  text += line("layout", "contiguous: an image is one read");
  text += line("block hashes", blocks > 0 ? "all " + grouped(blocks) + " match" : "none in the file");
  for (const char* name : {"source", "resize", "split", "seed", "grey_levels", "label_map"})
    if (const std::string value = first.attribute(name); !value.empty() && value != "{}")
      text += line(name, value.size() > 100 ? value.substr(0, 97) + "..." : value);
  text += line("fingerprint", dataset.fingerprint());
  if (const std::string hex = images_fingerprint(dataset); !hex.empty())
    text += line("", hex + " of the images, whatever the seed and number of shards");
  return text;
}

}  // namespace

std::string inspect(const std::filesystem::path& file) {
  if (file.extension() == ".npy") return file.string() + "\n" + line("array", array_text(data::read_npy(file)));
  if (file.extension() != ".npz") return dataset_text(file);
  std::string text = file.string() + "\n";
  for (const auto& [name, array] : data::read_npz(file)) text += line(name, array_text(array));
  return text;
}

}  // namespace cfm::packer
