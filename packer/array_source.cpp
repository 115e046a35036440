#include "packer/array_source.h"

#include "base/error.h"
#include "packer/array_images.h"

namespace cfm::packer {
namespace {

using data::ArrayFile;
using std::filesystem::path;

struct OpenedPart {
  ImagePart part;
  uint64_t spooled_bytes = 0;
};

OpenedPart open_part(const path& npz, const SourceOptions& options) {
  std::vector<std::string> keys;
  std::string all;
  for (const ArrayFile& array : data::list_npz(npz)) {
    keys.push_back(array.key);
    all += (all.empty() ? "" : ", ") + array.key;
  }
  const std::string images = find_key(keys, {"images", "data", "imgs", "x", "arr_0"});
  const std::string labels = find_key(keys, {"labels", "y", "arr_1"});
  check(!images.empty(), npz.string() + " holds the arrays " + all +
                             "; expected images, data, imgs, x or arr_0, and labels, y or arr_1.");
  const auto name = [&npz](const std::string& key) { return "array " + key + " of " + npz.string(); };
  const ArrayFile array = data::open_npz(npz, images, options.spool_folder, options.verify);
  OpenedPart opened{images_in(array, name(images)), array.spooled ? array.bytes.size : 0};
  if (!labels.empty())
    opened.part.labels =
        labels_in(data::open_npz(npz, labels, options.spool_folder, options.verify), opened.part.count, name(labels));
  return opened;
}

}  // namespace

ImageSource open_npz_images(const std::vector<path>& parts, const SourceOptions& options,
                            const std::string& description) {
  std::vector<ImagePart> opened;
  uint64_t spooled = 0;
  for (const path& npz : parts) {
    OpenedPart part = open_part(npz, options);
    spooled += part.spooled_bytes;
    opened.push_back(std::move(part.part));
  }
  ImageSource source = source_of_parts(std::move(opened), description);
  if (spooled > 0) source.notes.push_back(spool_note("deflated arrays were inflated", spooled, options));
  return source;
}

ImageSource open_npy_images(const path& images_npy, const path& labels_npy) {
  ImagePart part = images_in(data::open_npy(images_npy), images_npy.string());
  if (!labels_npy.empty()) part.labels = labels_in(data::open_npy(labels_npy), part.count, labels_npy.string());
  std::vector<ImagePart> parts;
  parts.push_back(std::move(part));
  return source_of_parts(std::move(parts), images_npy.string());
}

}  // namespace cfm::packer
