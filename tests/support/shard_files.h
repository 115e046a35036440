#pragma once
// Shards whose every byte is known from the image's number.

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/shard_writer.h"

namespace cfm::tests {

inline uint8_t byte_of(int64_t image, int64_t place) {
  return static_cast<uint8_t>((image * 131 + place * 7 + image * place % 5 + (image >> 8) * place * 3) & 255);
}
inline int64_t label_of(int64_t image) { return image % 10; }

inline std::vector<uint8_t> pixels_of(int64_t image, data::ImageShape shape) {
  std::vector<uint8_t> pixels(static_cast<size_t>(shape.bytes()));
  for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = byte_of(image, static_cast<int64_t>(i));
  return pixels;
}

// Images first .. first + count - 1.
inline void write_shard(const std::filesystem::path& file, data::ImageShape shape, int64_t count, int64_t first = 0,
                        std::map<std::string, std::string> attributes = {}) {
  data::ShardWriter writer(file, shape, count, std::move(attributes));
  for (int64_t image = first; image < first + count; ++image) writer.append(pixels_of(image, shape), label_of(image));
  writer.finish();
}

// Opens a data set of one file and reads all of it. Empty, or the refusal, which names the file.
inline std::string refusal_of_reading(const std::filesystem::path& file, const data::DatasetOptions& options) try {
  const data::Dataset dataset = data::Dataset::open(file, options);
  std::vector<uint8_t> pixels(static_cast<size_t>(dataset.image_shape().bytes()));
  for (int64_t i = 0; i < dataset.size(); ++i) dataset.read(i, pixels);
  return {};
} catch (const Error& error) {
  const std::string text = error.what();
  EXPECT_NE(text.find(file.filename().string()), std::string::npos) << text;
  return text;
}

}  // namespace cfm::tests
