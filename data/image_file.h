#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "data/byte_source.h"
#include "data/shard.h"

namespace cfm::data {

struct Image {
  ImageShape shape;             // 1 or 3 channels
  std::vector<uint8_t> pixels;  // CHW
};

// Decodes a PNG or JPEG by its content, whatever its name. PNG: 1 to 16 bits, palette and alpha reduced to grey or RGB
// (alpha dropped). JPEG: grey, YCbCr, RGB, CMYK and YCCK (as Adobe stores them; made RGB as Pillow makes it). Throws
// Error naming the file.
Image read_image(const std::filesystem::path& path);
Image read_image(const ByteSource& file);

// The same from bytes in memory; `name` is what messages call it.
Image decode_image(std::string_view bytes, const std::string& name);

// 8-bit PNG, written durably.
void write_png(const std::filesystem::path& path, const Image& image);

// Images of one shape in rows of `columns`, `margin` pixels of `background` between and around, each pixel magnified
// `zoom` times.
Image image_grid(const std::vector<Image>& images, int64_t columns, int64_t margin = 2, uint8_t background = 32,
                 int64_t zoom = 1);

// `image` as three equal channels if it has one and `channels` is 3, unchanged if it has `channels`; Error otherwise.
Image with_channels(Image image, int64_t channels);

}  // namespace cfm::data
