#pragma once
// Numbered images to be packed, and what became of them.

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/npz.h"
#include "support/shard_files.h"

namespace cfm::tests {

// COUNT images (N,C,H,W) as pixels_of makes them, labels as label_of.
inline void write_images_npz(const std::filesystem::path& file, int64_t count, data::ImageShape shape) {
  data::NumpyArray images{"|u1", {count, shape.channels, shape.height, shape.width}, {}};
  data::NumpyArray labels{"|u1", {count}, {}};
  for (int64_t i = 0; i < count; ++i) {
    const std::vector<uint8_t> pixels = pixels_of(i, shape);
    images.bytes.insert(images.bytes.end(), pixels.begin(), pixels.end());
    labels.bytes.push_back(static_cast<uint8_t>(label_of(i)));
  }
  data::write_npz(file, {{"images", images}, {"labels", labels}});
}

struct PackedImage {
  std::vector<uint8_t> pixels;
  int64_t label;
  bool operator==(const PackedImage&) const = default;
};

// All images of a folder of shards, in their order.
inline std::vector<PackedImage> packed_images(const std::filesystem::path& folder) {
  const data::Dataset dataset = data::Dataset::open(folder);
  std::vector<PackedImage> images;
  for (int64_t i = 0; i < dataset.size(); ++i) {
    PackedImage image{std::vector<uint8_t>(static_cast<size_t>(dataset.image_shape().bytes())), dataset.label(i)};
    dataset.read(i, image.pixels);
    images.push_back(std::move(image));
  }
  return images;
}

// The number of each image in the source, found by its pixels; -1 if there is none.
inline std::vector<int64_t> source_numbers(const std::vector<PackedImage>& images, int64_t count,
                                           data::ImageShape shape) {
  const auto key = [](const std::vector<uint8_t>& pixels) { return std::string(pixels.begin(), pixels.end()); };
  std::map<std::string, int64_t> numbers;
  for (int64_t i = 0; i < count; ++i) numbers[key(pixels_of(i, shape))] = i;
  std::vector<int64_t> found;
  for (const PackedImage& image : images) {
    const auto number = numbers.find(key(image.pixels));
    found.push_back(number == numbers.end() || image.label != label_of(number->second) ? -1 : number->second);
  }
  return found;
}

}  // namespace cfm::tests
