#include "packer/inspect.h"

#include <algorithm>
#include <vector>

#include "data/array_file.h"
#include "data/dataset.h"
#include "packer/progress.h"

namespace cfm::packer {
namespace {

std::string line(std::string name, const std::string& value) {
  name.resize(14, ' ');
  return "  " + name + value + "\n";
}

std::string array_text(const data::ArrayFile& array) {
  return data::type_name(array.type) + " " + data::shape_text(array.shape);
}

std::string classes_text(const data::Dataset& dataset) {
  std::vector<int64_t> counts(static_cast<size_t>(dataset.num_classes()), 0);
  for (const data::Shard& shard : dataset.shards())
    for (const int64_t label : shard.labels()) ++counts[static_cast<size_t>(label)];
  const auto [fewest, most] = std::ranges::minmax(counts);
  return grouped(dataset.num_classes()) + ", of " + grouped(fewest) + " to " + grouped(most) + " images";
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
  return text + line("fingerprint", dataset.fingerprint());
}

}  // namespace

std::string inspect(const std::filesystem::path& file) {
  if (file.extension() == ".npy") return file.string() + "\n" + line("array", array_text(data::open_npy(file)));
  if (file.extension() != ".npz") return dataset_text(file);
  std::string text = file.string() + "\n";
  for (const data::ArrayFile& array : data::list_npz(file)) text += line(array.key, array_text(array));
  return text;
}

}  // namespace cfm::packer
