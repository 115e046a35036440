#include "packer/resize.h"

#include <algorithm>
#include <cassert>
#include <cmath>

#include "packer/resize_kernels.h"

namespace cfm::packer {
namespace {

using data::Image;
using data::ImageShape;

struct Filter {
  double support;  // it is 0 beyond
  double (*at)(double);
};

constexpr Filter kBoxFilter{0.5, [](double x) { return x > -0.5 && x <= 0.5 ? 1.0 : 0.0; }};

// Keys' cubic with a = -1/2.
constexpr Filter kBicubicFilter{2.0, [](double x) {
                                  x = std::abs(x);
                                  if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
                                  return x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0.0;
                                }};

// Pixel o of the output stands over the inputs around (o + 1/2) scale; the filter is stretched by the reduction.
FilterTable filter_table(const Filter& filter, int64_t inputs, int64_t outputs) {
  const double scale = static_cast<double>(inputs) / static_cast<double>(outputs), stretch = std::max(scale, 1.0);
  const double support = filter.support * stretch, shrink = 1 / stretch;
  FilterTable table;
  table.inputs = static_cast<size_t>(inputs);
  table.stride = 2 * static_cast<size_t>(std::ceil(support)) + 1;
  table.weights.assign(table.stride * static_cast<size_t>(outputs), 0);
  std::vector<double> weights;
  for (int64_t o = 0; o < outputs; ++o) {
    const double centre = (static_cast<double>(o) + 0.5) * scale;
    const auto first = std::max<int64_t>(0, static_cast<int64_t>(std::floor(centre - support + 0.5)));
    const auto end = std::min<int64_t>(inputs, static_cast<int64_t>(std::floor(centre + support + 0.5)));
    weights.clear();
    double total = 0;
    for (int64_t i = first; i < end; ++i) {
      weights.push_back(filter.at((static_cast<double>(i) - centre + 0.5) * shrink));
      total += weights.back();
    }
    table.first.push_back(static_cast<size_t>(first));
    table.count.push_back(weights.size());
    for (size_t k = 0; k < weights.size(); ++k)
      table.weights[static_cast<size_t>(o) * table.stride + k] =
          static_cast<int32_t>(std::lround(weights[k] / total * (1 << kWeightBits)));
  }
  return table;
}

Image filtered(const Image& image, const Filter& filter, int64_t height, int64_t width) {
  static const FilterPass pass = filter_passes_here().back().pass;
  const ImageShape shape = image.shape;
  if (shape.height == height && shape.width == width) return image;
  // Pillow's one exception: columns first.
  if (shape.height > 100 * shape.width && height < shape.height && width != shape.width)
    return filtered(filtered(image, filter, height, shape.width), filter, height, width);
  const FilterTable along_rows = filter_table(filter, shape.width, width);
  const FilterTable along_columns = filter_table(filter, shape.height, height);
  const auto rows = static_cast<size_t>(shape.channels * shape.height);
  std::vector<uint8_t> between(rows * static_cast<size_t>(width));  // [x][channel][y]
  pass(along_rows, image.pixels.data(), rows, static_cast<size_t>(shape.width), between.data());
  Image small{{shape.channels, height, width},
              std::vector<uint8_t>(static_cast<size_t>(shape.channels * height * width))};
  for (int64_t c = 0; c < shape.channels; ++c)
    pass(along_columns, between.data() + c * shape.height, static_cast<size_t>(width), rows,
         small.pixels.data() + c * height * width);
  return small;
}

Image centre_square(const Image& image, int64_t size) {
  const ImageShape shape = image.shape;
  Image square{{shape.channels, size, size}, {}};
  square.pixels.reserve(static_cast<size_t>(square.shape.bytes()));
  const int64_t top = (shape.height - size) / 2, left = (shape.width - size) / 2;
  for (int64_t c = 0; c < shape.channels; ++c)
    for (int64_t y = 0; y < size; ++y) {
      const auto row = image.pixels.begin() + (c * shape.height + top + y) * shape.width + left;
      square.pixels.insert(square.pixels.end(), row, row + size);
    }
  return square;
}

// As Python's round: halves go to the even neighbour.
int64_t rounded(double x) { return static_cast<int64_t>(std::nearbyint(x)); }

Image adm_square(Image image, int64_t size) {
  while (std::min(image.shape.height, image.shape.width) >= 2 * size)
    image = filtered(image, kBoxFilter, image.shape.height / 2, image.shape.width / 2);
  const auto height = static_cast<double>(image.shape.height), width = static_cast<double>(image.shape.width);
  const double scale = static_cast<double>(size) / std::min(height, width);
  return centre_square(filtered(image, kBicubicFilter, rounded(height * scale), rounded(width * scale)), size);
}

}  // namespace

std::optional<Resize> resize_from(const std::string& word) {
  for (const Resize resize : {Resize::kNone, Resize::kBox, Resize::kAdm})
    if (word == resize_word(resize)) return resize;
  return std::nullopt;
}

std::string resize_word(Resize resize) {
  return resize == Resize::kNone ? "none" : resize == Resize::kBox ? "box" : "adm";
}

Image resized(const Image& image, Resize resize, int64_t size) {
  assert(size > 0 || resize == Resize::kNone);
  if (resize == Resize::kNone) return image;
  return resize == Resize::kBox ? filtered(image, kBoxFilter, size, size) : adm_square(image, size);
}

}  // namespace cfm::packer
