#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <optional>

#include "base/error.h"
#include "data/npz.h"
#include "packer/image_source.h"

namespace cfm::packer {
namespace {

using data::Image;
using data::ImageShape;
using data::NumpyArray;

struct Layout {
  ImageShape shape;
  bool interleaved = false;  // HWC
  const char* words = "";
};

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text = "(";
  for (size_t i = 0; i < shape.size(); ++i) text += (i > 0 ? "," : "") + std::to_string(shape[i]);
  return text + (shape.size() == 1 ? ",)" : ")");
}

bool is_channels(int64_t size) { return size == 1 || size == 3; }

std::optional<Layout> layout_of(const std::vector<int64_t>& s) {
  if (s.size() == 3) return Layout{{1, s[1], s[2]}, false, "(N,H,W)"};
  if (s.size() == 4 && is_channels(s[1]) != is_channels(s[3])) {
    if (is_channels(s[1])) return Layout{{s[1], s[2], s[3]}, false, "(N,C,H,W)"};
    return Layout{{s[3], s[1], s[2]}, true, "(N,H,W,C)"};
  }
  if (s.size() == 2)
    for (const int64_t channels : {1, 3}) {
      const auto side =
          static_cast<int64_t>(std::lround(std::sqrt(static_cast<double>(s[1]) / static_cast<double>(channels))));
      if (side > 0 && channels * side * side == s[1]) return Layout{{channels, side, side}, false, "planar rows"};
    }
  return std::nullopt;
}

Image image_at(const NumpyArray& array, const Layout& layout, int64_t index) {
  const auto bytes = static_cast<size_t>(layout.shape.bytes());
  const uint8_t* from = array.bytes.data() + static_cast<size_t>(index) * bytes;
  Image image{layout.shape, std::vector<uint8_t>(from, from + bytes)};
  if (!layout.interleaved) return image;
  const auto channels = static_cast<size_t>(layout.shape.channels), area = bytes / channels;
  for (size_t c = 0; c < channels; ++c)
    for (size_t i = 0; i < area; ++i) image.pixels[c * area + i] = from[i * channels + c];
  return image;
}

std::vector<int64_t> labels_of(const NumpyArray& array, int64_t images, const std::string& name) {
  const bool flat = array.shape.size() == 1 || (array.shape.size() == 2 && array.shape[1] == 1);
  check(flat && array.shape[0] == images, name + " has shape " + shape_text(array.shape) + "; expected (" +
                                              std::to_string(images) + ",): a label for each image.");
  std::vector<int64_t> labels = array.as_int64();
  check(std::ranges::all_of(labels, [](int64_t label) { return label >= 0; }),
        name + " holds negative labels; expected 0 or more.");
  return labels;
}

// `labels` may be null: then all are 0, and the notes say so.
ImageSource source_of(NumpyArray images, const NumpyArray* labels, const std::string& name,
                      const std::string& labels_name) {
  check(images.type == "|u1", name + " has dtype " + images.type + "; expected uint8 (|u1) images.");
  const std::optional<Layout> layout = layout_of(images.shape);
  check(layout.has_value(),
        name + " has shape " + shape_text(images.shape) +
            "; expected (N,H,W), (N,H,W,C), (N,C,H,W) or (N,C*R*R) with C = 1 or 3, and no doubt which.");
  check(images.shape[0] > 0, name + " holds no images.");
  ImageSource source;
  source.description = name + " " + shape_text(images.shape) + ", read as " + layout->words;
  if (labels == nullptr) source.notes.push_back(name + " comes without labels: every label is 0");
  source.labels = labels == nullptr ? std::vector<int64_t>(static_cast<size_t>(images.shape[0]), 0)
                                    : labels_of(*labels, images.shape[0], labels_name);
  const auto array = std::make_shared<const NumpyArray>(std::move(images));
  source.read = [array, layout = *layout](int64_t i) { return image_at(*array, layout, i); };
  source.image_name = [name](int64_t i) { return "image " + std::to_string(i) + " of " + name; };
  return source;
}

std::string lower(std::string text) {
  std::ranges::transform(text, text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

// The key of `arrays` that is one of `names`, whatever its case; empty if there is none.
std::string find_key(const std::map<std::string, NumpyArray>& arrays, const std::vector<std::string>& names) {
  for (const std::string& name : names)
    for (const auto& [key, array] : arrays)
      if (lower(key) == name) return key;
  return "";
}

}  // namespace

ImageSource open_arrays(const std::filesystem::path& npz) {
  std::map<std::string, NumpyArray> arrays = data::read_npz(npz);
  const std::string images = find_key(arrays, {"images", "data", "x", "arr_0"});
  const std::string labels = find_key(arrays, {"labels", "y", "arr_1"});
  std::string keys;
  for (const auto& [key, array] : arrays) keys += (keys.empty() ? "" : ", ") + key;
  check(!images.empty(),
        npz.string() + " holds the arrays " + keys + "; expected images, data, x or arr_0, and labels, y or arr_1.");
  const auto name = [&npz](const std::string& key) { return "array " + key + " of " + npz.string(); };
  return source_of(std::move(arrays.at(images)), labels.empty() ? nullptr : &arrays.at(labels), name(images),
                   name(labels));
}

ImageSource open_arrays(const std::filesystem::path& images_npy, const std::filesystem::path& labels_npy) {
  if (labels_npy.empty()) return source_of(data::read_npy(images_npy), nullptr, images_npy.string(), "");
  const NumpyArray labels = data::read_npy(labels_npy);
  return source_of(data::read_npy(images_npy), &labels, images_npy.string(), labels_npy.string());
}

}  // namespace cfm::packer
