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

std::string shape_of(const std::vector<uint64_t>& sizes) {
  std::string text;
  for (const uint64_t size : sizes) text += (text.empty() ? "(" : ",") + std::to_string(size);
  return text + ")";
}

// What a random image costs, and what to do about it.
struct Cost {
  std::string reading, advice;
};

Cost cost_of(const data::Shard& shard) {
  const data::ReadPlan& plan = shard.plan();
  const std::string bytes = grouped(shard.image_shape().bytes());
  if (plan.access != data::Access::kOnePass)
    return {"fast: a random image is one read of " + bytes + " bytes", "none: train on it as it is"};
  const data::FileFacts& facts = shard.facts();
  const std::string gigabytes = grouped((shard.size() * shard.image_shape().bytes() + 999'999) / 1'000'000) + " MB";
  const std::string advice = "train with --data_mode=ram (" + gigabytes +
                             " a node, filled at the start by one pass), or "
                             "pack it once: cfm_pack --source=" +
                             shard.path().string() + " --out=DIR";
  if (facts.chunk.empty()) return {"slow: only libhdf5 can read it", advice};
  uint64_t chunks = 1, chunk_bytes = 1;
  for (size_t i = 1; i < facts.chunk.size(); ++i) chunks *= (facts.shape[i] - 1) / facts.chunk[i] + 1;
  for (const uint64_t size : facts.chunk) chunk_bytes *= size;
  return {"slow: a random image costs " + grouped(static_cast<int64_t>(chunks)) +
              (chunks == 1 ? " chunk " : " chunks ") + shape_of(facts.chunk) + ", " +
              grouped(static_cast<int64_t>(chunks * chunk_bytes)) + " bytes for its " + bytes,
          advice};
}

std::string dataset_text(const std::filesystem::path& path, data::Hdf5Process& hdf5) {
  // All is read: hashes are compared, and the fingerprint of a file that others wrote becomes known.
  const data::Dataset dataset =
      data::Dataset::open(path, {.data_mode = "pread", .verify = true, .hdf5 = &hdf5, .metadata_only = true});
  const data::Shard& first = dataset.shards().front();
  const Cost cost = cost_of(first);
  int64_t blocks = 0;
  for (const data::Shard& shard : dataset.shards()) blocks += static_cast<int64_t>(shard.block_hashes().size());
  std::string text = path.string() + "\n";
  text += line("files", grouped(static_cast<int64_t>(dataset.shards().size())) +
                            (first.is_ours() ? ", packed by cfm_pack" : ", written by others"));
  text += line("images", grouped(dataset.size()));
  text += line("shape", data::shape_text(dataset.image_shape()) + " (C,H,W), uint8" +
                            (first.plan().interleaved ? ", stored as (H,W,C)" : ""));
  text += line("classes", classes_text(dataset) + (dataset.labels_from_one() ? "; stored from 1 on" : ""));
  text += line("storage", first.plan().storage);
  text += line("reading", cost.reading);
  text += line("advice", cost.advice);
  text += line("block hashes", first.is_ours() ? "all " + grouped(blocks) + " match" : "none in the file");
  for (const char* name : {"source", "resize", "split", "seed", "grey_levels", "label_map"})
    if (const std::string value = first.attribute(name); !value.empty() && value != "{}")
      text += line(name, value.size() > 100 ? value.substr(0, 97) + "..." : value);
  const data::Fingerprint& fingerprint = dataset.fingerprint();
  text += line("fingerprint", fingerprint.files + " of the files");
  return text + line("", fingerprint.images + " of the images, whatever the seed and number of shards");
}

}  // namespace

std::string inspect(const std::filesystem::path& file, data::Hdf5Process& hdf5) {
  if (file.extension() == ".npy") return file.string() + "\n" + line("array", array_text(data::open_npy(file)));
  if (file.extension() != ".npz") return dataset_text(file, hdf5);
  std::string text = file.string() + "\n";
  for (const data::ArrayFile& array : data::list_npz(file)) text += line(array.key, array_text(array));
  return text;
}

}  // namespace cfm::packer
