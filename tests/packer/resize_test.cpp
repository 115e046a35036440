// Resizing against Pillow, which resizes the same pictures, and the kernels against their definition.

#include "packer/resize.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <sstream>

#include "data/npz.h"
#include "packer/resize_kernels.h"
#include "support/python.h"

namespace cfm {
namespace {

using data::Image;
using packer::Resize;

Image image_of(const data::NumpyArray& array) {
  return {{array.shape[0], array.shape[1], array.shape[2]}, array.bytes};
}

// Writes in_N.npy and out_N.npy, (C,H,W), and a line "resize size" for each N. Pillow is asked as guided-diffusion's
// image_datasets.py and Imagenet32_Scripts ask it.
const std::string kPillow = R"(
import numpy as np
from PIL import Image
r = np.random.default_rng(7)
cases = []
def planar(a): return np.ascontiguousarray(a[None] if a.ndim == 2 else a.transpose(2, 0, 1))
def box(image, size): return np.asarray(image.resize((size, size), Image.BOX))
def adm(image, size):
    while min(*image.size) >= 2 * size:
        image = image.resize(tuple(x // 2 for x in image.size), resample=Image.BOX)
    scale = size / min(*image.size)
    image = image.resize(tuple(round(x * scale) for x in image.size), resample=Image.BICUBIC)
    a = np.array(image)
    y, x = (a.shape[0] - size) // 2, (a.shape[1] - size) // 2
    return a[y : y + size, x : x + size]
def case(image, size):
    for word, resize in ("box", box), ("adm", adm):
        np.save(f"in_{len(cases)}.npy", planar(np.asarray(image)))
        np.save(f"out_{len(cases)}.npy", planar(resize(image, size)))
        cases.append(f"{word} {size}")
def noise(h, w, grey, hard):
    a = r.integers(0, 256, (h, w) if grey else (h, w, 3))
    return Image.fromarray(((a > 127) * 255 if hard else a).astype(np.uint8))
def smooth(h, w):
    y, x = np.mgrid[0:h, 0:w]
    a = np.stack([128 + 90 * np.sin(x / 17), 128 + 90 * np.cos(y / 11), 128 + 90 * np.sin((x + y) / 23)], -1)
    return Image.fromarray(np.clip(a + r.normal(0, 9, a.shape), 0, 255).astype(np.uint8))
def finish(): open("cases.txt", "w").write("\n".join(cases))
)";

void expect_pillows_pixels(const tests::ScratchDirectory& folder, size_t least_cases) {
  std::istringstream cases(tests::bytes_of(folder / "cases.txt"));
  std::string word;
  int64_t size = 0;
  size_t number = 0;
  for (; cases >> word >> size; ++number) {
    const std::string name = std::to_string(number) + ".npy";
    const Image image = image_of(data::read_npy(folder / ("in_" + name)));
    const Image expected = image_of(data::read_npy(folder / ("out_" + name)));
    const Image found = packer::resized(image, packer::resize_from(word).value(), size);
    const std::string what = word + " of " + std::to_string(image.shape.height) + "x" +
                             std::to_string(image.shape.width) + " to " + std::to_string(size);
    ASSERT_EQ(found.shape, expected.shape) << what;
    EXPECT_TRUE(found.pixels == expected.pixels) << what;
  }
  EXPECT_GE(number, least_cases);
}

TEST(Resize, HasPillowsPixelsForEverySizeOfNoise) {
  const tests::ScratchDirectory folder;
  tests::run_python(folder.path(), kPillow + R"(
for h, w in (1, 1), (1, 9), (2, 2), (3, 5), (16, 16), (31, 33), (64, 64), (65, 63), (127, 129), (128, 500), (375, 500), (1, 300), (333, 1):
    for size in 1, 3, 16, 32, 64:
        case(noise(h, w, grey=(h + size) % 3 == 0, hard=size % 2 == 0), size)
for _ in range(60):
    h, w = r.integers(1, 300, 2)
    case(noise(h, w, r.random() < 0.3, r.random() < 0.5), int(r.integers(1, 80)))
finish()
)");
  expect_pillows_pixels(folder, 250);
}

TEST(Resize, HasPillowsPixelsForPictures) {
  const tests::ScratchDirectory folder;
  tests::run_python(folder.path(), kPillow + R"(
demo = Image.open(")" CFM_SOURCE_DIR R"(/docs/demo.png").convert("RGB")
for picture in smooth(375, 500), smooth(500, 334), smooth(201, 777), demo, demo.convert("L"):
    for size in 32, 64, 128, 256: case(picture, size)
finish()
)");
  expect_pillows_pixels(folder, 40);
}

// Columns before rows: what lies between is rounded and clipped, so the order shows.
TEST(Resize, HasPillowsPixelsForImagesAHundredTimesHigherThanWide) {
  const tests::ScratchDirectory folder;
  tests::run_python(folder.path(), kPillow + R"(
for h, w in (1123, 8), (1841, 9), (700, 7), (701, 7), (8, 1123): case(noise(h, w, False, True), 7)
finish()
)");
  expect_pillows_pixels(folder, 10);
}

TEST(Resize, NamesItsKinds) {
  for (const char* word : {"none", "box", "adm"}) EXPECT_EQ(packer::resize_word(*packer::resize_from(word)), word);
  EXPECT_FALSE(packer::resize_from("bicubic").has_value());
  const Image image{{1, 2, 3}, {1, 2, 3, 4, 5, 6}};
  EXPECT_EQ(packer::resized(image, Resize::kNone, 0).pixels, image.pixels);
}

TEST(FilterPasses, AreTheWeightedSumOnEveryInstructionSet) {
  for (const size_t rows : {1, 7, 64, 65, 200})
    for (const size_t inputs : {3, 16, 37}) {
      packer::FilterTable table{
          .inputs = inputs, .stride = 3, .first = {0, inputs - 3, 1}, .count = {3, 3, 1}, .weights = {}};
      for (int i = 0; i < 9; ++i) table.weights.push_back((i * i * 500009 + 1) % (1 << 22) - (1 << 20));
      std::vector<uint8_t> in(rows * (inputs + 2));
      for (size_t i = 0; i < in.size(); ++i) in[i] = static_cast<uint8_t>(i * i * 7 + i);
      std::vector<uint8_t> expected;
      for (size_t o = 0; o < 3; ++o)
        for (size_t row = 0; row < rows; ++row) {
          double sum = 0.5;
          for (size_t k = 0; k < table.count[o]; ++k)
            sum += in[row * (inputs + 2) + table.first[o] + k] * (table.weights[3 * o + k] / 4194304.0);
          expected.push_back(static_cast<uint8_t>(std::clamp(std::floor(sum), 0.0, 255.0)));
        }
      for (const packer::NamedFilterPass& pass : packer::filter_passes_here()) {
        std::vector<uint8_t> found(expected.size());
        pass.pass(table, in.data(), rows, inputs + 2, found.data());
        EXPECT_TRUE(found == expected) << pass.instruction_set << ", " << rows << " rows of " << inputs;
      }
    }
}

}  // namespace
}  // namespace cfm
