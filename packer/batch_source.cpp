#include "packer/batch_source.h"

#include <algorithm>

#include "base/error.h"
#include "data/spool_file.h"
#include "packer/array_images.h"
#include "packer/latin1.h"
#include "packer/pickle.h"

namespace cfm::packer {
namespace {

using data::ArrayFile;
using data::ByteSource;
using std::filesystem::path;

constexpr uint64_t kRecord = 1 + 3 * 32 * 32, kCifar100Record = 1 + kRecord;

// The array's bytes, out of the pickle.
ArrayFile array_file(const ByteSource& pickle, const PickledArray& array, const std::string& name,
                     const SourceOptions& options) {
  ArrayFile file{.type = array.type, .shape = array.shape, .fortran_order = array.fortran_order};
  file.bytes = data::part_of(pickle, array.offset, array.size, name);
  if (!array.latin1) return file;
  data::SpoolFile spool(options.spool_folder);
  for_each_latin1_piece(file.bytes, [&spool](std::span<const uint8_t> piece) { spool.append(piece); });
  file.bytes = spool.bytes(name);
  file.spooled = spool.on_disk();
  return file;
}

std::vector<int64_t> labels_of(const ByteSource& pickle, const PickledDict& dict, int64_t images,
                               const SourceOptions& options) {
  std::vector<std::string> keys;
  for (const auto& [key, list] : dict.lists) keys.push_back(key);
  for (const auto& [key, array] : dict.arrays) keys.push_back(key);
  const std::string key = find_key(keys, {"labels", "fine_labels", "y"});
  if (key.empty()) return {};
  const std::string name = "labels " + key + " of " + pickle.name;
  if (const auto array = dict.arrays.find(key); array != dict.arrays.end())
    return labels_in(array_file(pickle, array->second, name, options), images, name);
  const std::vector<int64_t>& labels = dict.lists.at(key);
  check(static_cast<int64_t>(labels.size()) == images, name + " are " + std::to_string(labels.size()) + "; expected " +
                                                           std::to_string(images) + ": a label for each image.");
  return labels;
}

}  // namespace

bool is_pickle(const path& file) {
  const ByteSource bytes = data::file_bytes(file);
  if (bytes.size < 2) return false;
  const std::string start = data::text_at(bytes, 0, 2);
  return start[0] == '\x80' && start[1] >= 2 && start[1] <= 5;
}

ImageSource open_pickles(const std::vector<path>& batches, const SourceOptions& options,
                         const std::string& description) {
  std::vector<ImagePart> parts;
  uint64_t spooled = 0;
  for (const path& batch : batches) {
    const ByteSource pickle = data::file_bytes(batch);
    const PickledDict dict = read_pickle(pickle);
    std::vector<std::string> keys;
    std::string all;
    for (const auto& [key, array] : dict.arrays) {
      keys.push_back(key);
      all += (all.empty() ? "" : ", ") + key;
    }
    const std::string key = find_key(keys, {"data", "images", "x"});
    check(!key.empty(), pickle.name + " holds " + (all.empty() ? "no arrays" : "the arrays " + all) +
                            "; expected data, images or x, and labels.");
    const std::string name = "array " + key + " of " + pickle.name;
    const ArrayFile images = array_file(pickle, dict.arrays.at(key), name, options);
    if (images.spooled) spooled += images.bytes.size;
    parts.push_back(images_in(images, name));
    parts.back().labels = labels_of(pickle, dict, parts.back().count, options);
  }
  ImageSource source = source_of_parts(std::move(parts), description);
  if (spooled > 0) source.notes.push_back(spool_note("arrays that are pickled as text were decoded", spooled, options));
  return source;
}

ImageSource open_cifar10_binary(const std::vector<path>& batches, const std::string& description) {
  std::vector<ImagePart> parts;
  for (const path& batch : batches) {
    ImagePart part{.name = batch.string(),
                   .words = "records of CIFAR-10",
                   .shape = {3, 32, 32},
                   .bytes = data::file_bytes(batch),
                   .first = 1,
                   .stride = kRecord};
    const uint64_t size = part.bytes.size;
    check(size % kRecord == 0 || size % kCifar100Record != 0,
          part.name +
              " has records of 3074 bytes: CIFAR-100's binary version, of two labels each, which is not read. "
              "Take its Python version (cifar-100-python).");
    check(size > 0 && size % kRecord == 0, part.name + " has " + std::to_string(size) +
                                               " bytes; expected records of 3073 bytes, CIFAR-10's binary "
                                               "version (data_batch_1.bin).");
    part.count = static_cast<int64_t>(size / kRecord);
    uint64_t at = 0;
    data::for_each_piece(part.bytes, [&](std::span<const uint8_t> piece) {
      for (uint64_t i = (kRecord - at % kRecord) % kRecord; i < piece.size(); i += kRecord) {
        check(piece[i] < 10, part.name + " holds the label " + std::to_string(piece[i]) + " in record " +
                                 std::to_string((at + i) / kRecord) + "; expected 0 to 9, CIFAR-10's.");
        part.labels.push_back(piece[i]);
      }
      at += piece.size();
    });
    parts.push_back(std::move(part));
  }
  return source_of_parts(std::move(parts), description);
}

}  // namespace cfm::packer
