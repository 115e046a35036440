#include "packer/inspect.h"

#include <algorithm>
#include <map>
#include <vector>

#include "base/grouped_number.h"
#include "data/array_file.h"
#include "data/dataset.h"
#include "data/file_names.h"
#include "data/fingerprint.h"
#include "packer/batch_source.h"
#include "packer/image_source.h"
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

// "1,000, of 732 to 1,300 images"
std::string classes_text(const std::map<int64_t, int64_t>& images_of_label) {
  const int64_t classes = images_of_label.rbegin()->first + 1;
  int64_t fewest = static_cast<int64_t>(images_of_label.size()) < classes ? 0 : images_of_label.begin()->second;
  int64_t most = 0;
  for (const auto& [label, images] : images_of_label) {
    fewest = std::min(fewest, images);
    most = std::max(most, images);
  }
  return grouped(classes) + ", of " + grouped(fewest) + " to " + grouped(most) + " images";
}

// "contiguous", or each kind of storage and how many files have it.
std::string storage_text(const std::vector<data::Shard>& shards) {
  std::map<std::string, int64_t> files;
  for (const data::Shard& shard : shards) ++files[shard.plan().storage];
  if (files.size() == 1) return files.begin()->first;
  std::string text;
  for (const auto& [storage, count] : files)
    text += (text.empty() ? "" : "; ") + grouped(count) + (count == 1 ? " file: " : " files: ") + storage;
  return text;
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
  const auto slowest = std::ranges::find(dataset.shards(), data::Access::kOnePass,
                                         [](const data::Shard& shard) { return shard.plan().access; });
  const Cost cost = cost_of(slowest == dataset.shards().end() ? first : *slowest);
  int64_t blocks = 0;
  std::map<int64_t, int64_t> images_of_label;
  for (const data::Shard& shard : dataset.shards()) {
    blocks += static_cast<int64_t>(shard.block_hashes().size());
    for (const int64_t label : shard.labels()) ++images_of_label[label];
  }
  std::string text = path.string() + "\n";
  text += line("files", grouped(static_cast<int64_t>(dataset.shards().size())) +
                            (first.is_ours() ? ", packed by cfm_pack" : ", written by others"));
  text += line("images", grouped(dataset.size()));
  text += line("shape", data::shape_text(dataset.image_shape()) + " (C,H,W), uint8" +
                            (first.plan().interleaved ? ", stored as (H,W,C)" : ""));
  text += line("classes", classes_text(images_of_label) + (dataset.labels_from_one() ? "; stored from 1 on" : ""));
  text += line("storage", storage_text(dataset.shards()));
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

// What cfm_pack packs and nothing else reads.
std::string source_text(const std::filesystem::path& path, data::Hdf5Process& hdf5) {
  const ImageSource source = open_source(
      path.string(), {.spool_folder = std::filesystem::temp_directory_path(), .verify = true, .hdf5 = &hdf5});
  std::map<int64_t, int64_t> images_of_label;
  for (const int64_t label : source.labels) ++images_of_label[label];
  const data::ImageShape shape = source.read(0).shape;
  std::string text = line("holds", source.description);
  text += line("images", grouped(source.size()));
  text += line("shape", data::shape_text(shape) + (source.raw ? " (C,H,W), uint8" : " (C,H,W) the first; to decode"));
  text += line("classes", classes_text(images_of_label));
  for (const std::string& note : source.notes) text += line("note", note);
  text += line("reading", "cfm_train reads HDF5 only");
  text += line("advice", "pack it once: cfm_pack --source=" + path.string() + " --out=DIR" +
                             (source.raw ? "" : " --resize=adm --size=64"));
  if (!source.raw) return text + line("fingerprint", "that of the pixels, which cfm_pack prints");
  data::ImagesFingerprint fingerprint;
  for (int64_t i = 0; i < source.size(); ++i)
    fingerprint.add(source.read(i).pixels, source.labels[static_cast<size_t>(i)]);
  return text + line("fingerprint", fingerprint.hex() + " of the images, whatever the seed and number of shards");
}

bool is_hdf5_folder(const std::filesystem::path& folder) {
  return std::ranges::any_of(std::filesystem::directory_iterator(folder),
                             [](const auto& entry) { return data::is_hdf5_name(entry.path()); });
}

bool is_for_packing(const std::filesystem::path& file) {
  if (std::filesystem::is_directory(file)) return !is_hdf5_folder(file);
  const std::filesystem::path extension = file.extension();
  return extension == ".tar" || extension == ".bin" || (std::filesystem::is_regular_file(file) && is_pickle(file));
}

}  // namespace

std::string inspect(const std::filesystem::path& file, data::Hdf5Process& hdf5) {
  const std::string name = file.string() + "\n";
  if (is_for_packing(file)) return name + source_text(file, hdf5);
  std::vector<data::ArrayFile> arrays;
  if (file.extension() == ".npy") arrays.push_back(data::open_npy(file));
  if (file.extension() == ".npz") arrays = data::list_npz(file);
  if (arrays.empty()) return dataset_text(file, hdf5);
  std::string text = name;
  for (const data::ArrayFile& array : arrays) text += line(array.key.empty() ? "array" : array.key, array_text(array));
  try {
    return text + source_text(file, hdf5);
  } catch (const Error& error) {  // arrays of something else
    return text + line("images", std::string("none: ") + error.what());
  }
}

}  // namespace cfm::packer
