#include "packer/array_images.h"

#include <algorithm>
#include <cmath>
#include <memory>

#include "base/error.h"
#include "data/planar.h"
#include "packer/image_names.h"

namespace cfm::packer {
namespace {

using data::ArrayFile;
using data::Image;
using data::ImageShape;

struct Layout {
  ImageShape shape;
  bool interleaved = false;
  const char* words = "";
};

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

Image image_at(const ImagePart& part, int64_t index) {
  Image image{part.shape, std::vector<uint8_t>(static_cast<size_t>(part.shape.bytes()))};
  data::read_at(part.bytes, part.first + static_cast<uint64_t>(index) * part.stride, image.pixels);
  if (!part.interleaved) return image;
  data::to_planar(std::vector<uint8_t>(image.pixels), part.shape, image.pixels);
  return image;
}

// Parts and where each begins among all images.
struct Parts {
  std::vector<ImagePart> parts;
  std::vector<int64_t> begins;

  std::pair<const ImagePart&, int64_t> find(int64_t image) const {
    const auto part = static_cast<size_t>(std::ranges::upper_bound(begins, image) - begins.begin() - 1);
    return {parts[part], image - begins[part]};
  }
};

std::string size_text(const ImageShape& shape) {
  return std::to_string(shape.channels) + "x" + std::to_string(shape.height) + "x" + std::to_string(shape.width);
}

void take_labels(ImageSource& source, const std::vector<ImagePart>& parts) {
  const ImagePart& front = parts.front();
  for (const ImagePart& part : parts) {
    check(part.labels.empty() == front.labels.empty(),
          part.name + " comes " + (part.labels.empty() ? "without" : "with") + " labels, " + front.name + " " +
              (front.labels.empty() ? "without" : "with") + "; expected labels for all or none.");
    if (part.labels.empty())
      source.labels.resize(source.labels.size() + static_cast<size_t>(part.count), 0);
    else
      source.labels.insert(source.labels.end(), part.labels.begin(), part.labels.end());
  }
  if (front.labels.empty()) source.notes.push_back(front.name + " comes without labels: every label is 0");
  const auto [least, most] = std::ranges::minmax(source.labels);
  if (least != 1 || most != 1000) return;
  for (int64_t& label : source.labels) --label;
  source.notes.push_back(
      "labels 1 to 1000 were taken as 0 to 999 (the official downsampled ImageNet numbers classes so, in the order of "
      "its map_clsloc.txt)");
}

std::string lower(std::string text) {
  std::ranges::transform(text, text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

}  // namespace

ImagePart images_in(const ArrayFile& array, const std::string& name) {
  const std::string shape = data::shape_text(array.shape);
  check(array.type == "|u1", name + " has dtype " + array.type + "; expected uint8 (|u1) images.");
  check(!array.fortran_order, name + " is in Fortran order; C order is read. Convert it: numpy.ascontiguousarray(a)");
  const std::optional<Layout> layout = layout_of(array.shape);
  check(layout.has_value(),
        name + " has shape " + shape +
            "; expected (N,H,W), (N,H,W,C), (N,C,H,W) or (N,C*R*R) with C = 1 or 3, and no doubt which.");
  check(array.shape[0] > 0 && data::array_bytes(array.shape, 1, name) > 0, name + " holds no images.");
  check(array.bytes.size == data::array_bytes(array.shape, 1, name),
        name + " is damaged: it has " + std::to_string(array.bytes.size) + " bytes, its shape is " + shape + ".");
  return {.name = name,
          .words = shape + ", read as " + layout->words,
          .shape = layout->shape,
          .interleaved = layout->interleaved,
          .bytes = array.bytes,
          .stride = static_cast<uint64_t>(layout->shape.bytes()),
          .count = array.shape[0]};
}

std::vector<int64_t> labels_in(const ArrayFile& array, int64_t images, const std::string& name) {
  const bool flat = array.shape.size() == 1 || (array.shape.size() == 2 && array.shape[1] == 1);
  check(flat && array.shape[0] == images, name + " has shape " + data::shape_text(array.shape) + "; expected (" +
                                              std::to_string(images) + ",): a label for each image.");
  const uint64_t bytes = data::array_bytes(array.shape, data::integer_bytes(array.type), name);
  check(bytes > 0 && array.bytes.size == bytes, name + " has dtype " + array.type + " and " +
                                                    std::to_string(array.bytes.size) + " bytes; expected " +
                                                    std::to_string(images) + " integers.");
  return data::integers(array.type, data::text_at(array.bytes, 0, bytes));
}

ImageSource source_of_parts(std::vector<ImagePart> parts, const std::string& description) {
  Parts all;
  int64_t images = 0;
  ImageSource source;
  for (const ImagePart& part : parts) {
    check(part.shape == parts.front().shape, part.name + " holds images of " + size_text(part.shape) + ", " +
                                                 parts.front().name + " of " + size_text(parts.front().shape) +
                                                 "; expected one shape.");
    check(std::ranges::all_of(part.labels, [](int64_t label) { return label >= 0; }),
          "the labels of " + part.name + " include negative ones; expected 0 or more.");
    all.begins.push_back(images);
    images += part.count;
  }
  take_labels(source, parts);
  for (ImagePart& part : parts) part.labels = {};
  source.description =
      description + (parts.size() == 1 ? " " + parts.front().words : ", " + std::to_string(parts.size()) + " parts");
  source.raw = true;
  all.parts = std::move(parts);
  const auto shared = std::make_shared<const Parts>(std::move(all));
  source.read = [shared](int64_t i) {
    const auto& [part, index] = shared->find(i);
    return image_at(part, index);
  };
  source.image_name = [shared](int64_t i) {
    const auto& [part, index] = shared->find(i);
    return "image " + std::to_string(index) + " of " + part.name;
  };
  return source;
}

std::string find_key(const std::vector<std::string>& keys, const std::vector<std::string>& names) {
  for (const std::string& name : names)
    for (const std::string& key : keys)
      if (lower(key) == name) return key;
  return "";
}

}  // namespace cfm::packer
