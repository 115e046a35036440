#include "data/image_file.h"

#include <algorithm>

#include "base/error.h"
#include "data/image_codecs.h"
#include "data/planar.h"

namespace cfm::data {

void check_area(const ImageShape& shape, const std::string& name) {
  check(shape.height > 0 && shape.width > 0 && shape.height * shape.width <= int64_t{1} << 28,
        name + " claims to be " + std::to_string(shape.width) + "x" + std::to_string(shape.height) +
            " pixels; up to 2^28 are read.");
}

Image planar(ImageShape shape, const std::vector<uint8_t>& interleaved) {
  Image image{shape, std::vector<uint8_t>(interleaved.size())};
  to_planar(interleaved, shape, image.pixels);
  return image;
}

std::vector<uint8_t> interleaved(const Image& image) {
  const auto channels = static_cast<size_t>(image.shape.channels);
  const auto area = static_cast<size_t>(image.shape.height * image.shape.width);
  std::vector<uint8_t> pixels(image.pixels.size());
  for (size_t c = 0; c < channels; ++c)
    for (size_t i = 0; i < area; ++i) pixels[i * channels + c] = image.pixels[c * area + i];
  return pixels;
}

Image decode_image(std::string_view bytes, const std::string& name) {
  if (is_png(bytes)) return decode_png(bytes, name);
  if (is_jpeg(bytes)) return decode_jpeg(bytes, name);
  throw Error(name + (bytes.empty() ? " is empty (0 bytes)" : " is neither a PNG nor a JPEG by its first bytes") +
              "; expected a PNG or a JPEG.");
}

Image read_image(const ByteSource& file) { return decode_image(text_at(file, 0, file.size), file.name); }

Image read_image(const std::filesystem::path& path) { return read_image(file_bytes(path)); }

Image image_grid(const std::vector<Image>& images, int64_t columns, int64_t margin, uint8_t background, int64_t zoom) {
  check(!images.empty() && columns >= 1 && margin >= 0 && zoom >= 1,
        "a grid of " + std::to_string(images.size()) + " images in " + std::to_string(columns) + " columns, margin " +
            std::to_string(margin) + ", zoom " + std::to_string(zoom) +
            ": expected at least one image, column and zoom.");
  const ImageShape shape = images.front().shape;
  const auto count = static_cast<int64_t>(images.size());
  columns = std::min(columns, count);
  const int64_t rows = (count + columns - 1) / columns;
  const int64_t cell_h = shape.height * zoom + margin, cell_w = shape.width * zoom + margin;
  Image grid{{shape.channels, rows * cell_h + margin, columns * cell_w + margin}, {}};
  grid.pixels.assign(static_cast<size_t>(grid.shape.bytes()), background);
  for (int64_t i = 0; i < count; ++i) {
    const Image& image = images[static_cast<size_t>(i)];
    check(image.shape == shape,
          "a grid needs images of one shape; image " + std::to_string(i) + " has another than image 0.");
    const int64_t top = margin + i / columns * cell_h, left = margin + i % columns * cell_w;
    for (int64_t c = 0; c < shape.channels; ++c)
      for (int64_t y = 0; y < shape.height * zoom; ++y)
        for (int64_t x = 0; x < shape.width * zoom; ++x)
          grid.pixels[static_cast<size_t>((c * grid.shape.height + top + y) * grid.shape.width + left + x)] =
              image.pixels[static_cast<size_t>((c * shape.height + y / zoom) * shape.width + x / zoom)];
  }
  return grid;
}

Image with_channels(Image image, int64_t channels) {
  if (image.shape.channels == channels) return image;
  check(image.shape.channels == 1 && channels == 3, "an image of " + std::to_string(image.shape.channels) +
                                                        " channels cannot become one of " + std::to_string(channels) +
                                                        "; only grey (1) can be given as colour (3).");
  const size_t area = image.pixels.size();
  image.shape.channels = 3;
  image.pixels.resize(3 * area);
  std::copy_n(image.pixels.begin(), area, image.pixels.begin() + static_cast<std::ptrdiff_t>(area));
  std::copy_n(image.pixels.begin(), area, image.pixels.begin() + static_cast<std::ptrdiff_t>(2 * area));
  return image;
}

}  // namespace cfm::data
