// PNG and JPEG against Pillow, which decodes the same files.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>

#include "data/image_file.h"
#include "data/npz.h"
#include "support/python.h"

namespace cfm {
namespace {

using data::Image;

// Pillow's pixels of NAME stand in NAME.npy, (C,H,W).
int largest_difference(const tests::ScratchDirectory& folder, const std::string& name) {
  const data::NumpyArray expected = data::read_npy(folder / (name + ".npy"));
  const Image image = data::read_image(folder / name);
  EXPECT_EQ((std::vector<int64_t>{image.shape.channels, image.shape.height, image.shape.width}), expected.shape)
      << name;
  EXPECT_EQ(image.pixels.size(), expected.bytes.size()) << name;
  int difference = 0;
  for (size_t i = 0; i < std::min(image.pixels.size(), expected.bytes.size()); ++i)
    difference = std::max(difference, std::abs(image.pixels[i] - expected.bytes[i]));
  return difference;
}

const std::string kPicture = R"(
import numpy as np
from PIL import Image
r = np.random.default_rng(1)
y, x = np.mgrid[0:45, 0:67]
smooth = np.stack([x * 3, y * 5, (x + y) * 2], -1) % 256
rgb = Image.fromarray(np.clip(smooth + r.integers(-9, 9, smooth.shape), 0, 255).astype(np.uint8))
def keep(name, mode):
    a = np.asarray(Image.open(name).convert(mode))
    np.save(name + ".npy", np.ascontiguousarray(a[None] if a.ndim == 2 else a.transpose(2, 0, 1)))
)";

TEST(Pillow, DecodesEveryKindOfPngToTheSamePixels) {
  const tests::ScratchDirectory folder;
  tests::run_python(folder.path(), kPicture + R"(
rgb.save("rgb.png"); keep("rgb.png", "RGB")
rgb.convert("L").save("grey.png"); keep("grey.png", "L")
rgb.convert("1").save("bits.png"); keep("bits.png", "L")
rgb.quantize(100).save("palette.png"); keep("palette.png", "RGB")
rgb.quantize(4).save("palette2.png", bits=2); keep("palette2.png", "RGB")
rgba = rgb.copy(); rgba.putalpha(Image.fromarray(r.integers(0, 256, (45, 67)).astype(np.uint8)))
rgba.save("rgba.png"); keep("rgba.png", "RGB")
la = rgb.convert("L"); la.putalpha(rgba.getchannel("A")); la.save("la.png"); keep("la.png", "L")
rgb.save("gamma.png", gamma=0.45, icc_profile=b"junk"); keep("gamma.png", "RGB")
rgb.quantize(50).save("transparent.png", transparency=3); keep("transparent.png", "RGB")
)");
  for (const char* name : {"rgb.png", "grey.png", "bits.png", "palette.png", "palette2.png", "rgba.png", "la.png",
                           "gamma.png", "transparent.png"})
    EXPECT_EQ(largest_difference(folder, name), 0) << name;
}

TEST(Pillow, DecodesEveryKindOfJpegToTheSamePixels) {
  const tests::ScratchDirectory folder;
  tests::run_python(folder.path(), kPicture + R"(
for name, options in {"q95": dict(quality=95), "q30": dict(quality=30), "s444": dict(quality=90, subsampling=0),
                      "s422": dict(quality=90, subsampling=1), "progressive": dict(quality=80, progressive=True),
                      "restart": dict(quality=80, restart_marker_rows=1), "rgb": dict(quality=90, keep_rgb=True)}.items():
    rgb.save(name + ".jpg", **options); keep(name + ".jpg", "RGB")
rgb.convert("L").save("grey.jpg"); keep("grey.jpg", "L")
strong = Image.fromarray(r.integers(0, 256, (45, 67, 4)).astype(np.uint8), "CMYK")
for name, options in {"cmyk": dict(quality=95), "cmyk_sub": dict(quality=80, subsampling=2)}.items():
    rgb.convert("CMYK").save(name + ".jpg", **options); keep(name + ".jpg", "RGB")
strong.save("strong.jpg", quality=90); keep("strong.jpg", "RGB")
# YCCK: the same file whose Adobe marker says so.
b = open("strong.jpg", "rb").read()
at = b.index(b"Adobe") + 11
open("ycck.jpg", "wb").write(b[:at] + b"\x02" + b[at + 1:]); keep("ycck.jpg", "RGB")
)");
  int largest = 0;
  for (const char* name : {"q95.jpg", "q30.jpg", "s444.jpg", "s422.jpg", "progressive.jpg", "restart.jpg", "rgb.jpg",
                           "grey.jpg", "cmyk.jpg", "cmyk_sub.jpg", "strong.jpg", "ycck.jpg"}) {
    const int difference = largest_difference(folder, name);
    EXPECT_LE(difference, 1) << name;
    largest = std::max(largest, difference);
  }
  RecordProperty("largest_difference", largest);
}

TEST(Pillow, ReadsThePngThatWeWrite) {
  const tests::ScratchDirectory folder;
  Image image{{3, 9, 14}, {}};
  for (int64_t i = 0; i < image.shape.bytes(); ++i) image.pixels.push_back(static_cast<uint8_t>(i * 29));
  data::write_png(folder / "a.png", image);
  tests::run_python(folder.path(), R"(
import numpy as np
from PIL import Image
a = Image.open("a.png")
assert a.mode == "RGB" and a.size == (14, 9)
assert (np.asarray(a).transpose(2, 0, 1).ravel() == np.arange(3 * 9 * 14) * 29 % 256).all()
)");
}

TEST(Pillow, JpegsThatEndEarlyAreRefusedByName) {
  const tests::ScratchDirectory folder;
  tests::run_python(folder.path(), kPicture + R"(
rgb.save("a.jpg", quality=95)
b = open("a.jpg", "rb").read()
open("half.jpg", "wb").write(b[:len(b) // 2])
open("head.jpg", "wb").write(b[:100])
open("stray.jpg", "wb").write(b + b"trailing bytes"); keep("stray.jpg", "RGB")
)");
  tests::expect_refusal([&] { data::read_image(folder / "half.jpg"); }, {"half.jpg", "ends too early"});
  tests::expect_refusal([&] { data::read_image(folder / "head.jpg"); }, {"head.jpg", "damaged JPEG"});
  EXPECT_LE(largest_difference(folder, "stray.jpg"), 1);
}

}  // namespace
}  // namespace cfm
