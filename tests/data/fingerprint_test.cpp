// The order-free fingerprint: hashes by the xxhsum program, sums by hand.

#include "data/fingerprint.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "support/data_support.h"
#include "support/shard_files.h"

namespace cfm {
namespace {

using data::ImagesFingerprint;
using data::ImageShape;
using tests::ScratchDirectory;

constexpr ImageShape kShape{3, 5, 7};

// XXH3-128 of some bytes as the program prints it: "<32 digits>  FILE".
std::string xxhsum(const ScratchDirectory& folder, const std::string& bytes) {
  const std::filesystem::path file = folder.write("bytes", bytes);
  return tests::run_program("xxhsum -H2 -q " + file.string()).output.substr(0, 32);
}

// Sum of two hex numbers of 32 digits, digit by digit, without what leaves them at the top.
std::string add_by_hand(std::string a, const std::string& b) {
  const std::string digits = "0123456789abcdef";
  size_t carry = 0;
  for (size_t i = a.size(); i-- > 0;) {
    const size_t sum = digits.find(a[i]) + digits.find(b[i]) + carry;
    a[i] = digits[sum % 16];
    carry = sum / 16;
  }
  return a;
}

std::string bytes_of_image(int64_t image, int64_t label) {
  const std::vector<uint8_t> pixels = tests::pixels_of(image, kShape);
  std::string bytes(pixels.begin(), pixels.end());
  for (int byte = 0; byte < 8; ++byte) bytes += static_cast<char>(label >> 8 * byte & 255);
  return bytes;
}

ImagesFingerprint of_images(const std::vector<int64_t>& images) {
  ImagesFingerprint fingerprint;
  for (const int64_t image : images) fingerprint.add(tests::pixels_of(image, kShape), tests::label_of(image));
  return fingerprint;
}

TEST(ImagesFingerprint, IsTheSumOfWhatXxhsumPrintsForEachImage) {
  const ScratchDirectory folder;
  ImagesFingerprint fingerprint;
  std::string expected(32, '0');
  EXPECT_EQ(fingerprint.hex(), expected);
  for (int64_t image = 0; image < 20; ++image) {  // enough for sums beyond 2^128
    const int64_t label = image == 7 ? 0x0102030405060708 : image;
    fingerprint.add(tests::pixels_of(image, kShape), label);
    expected = add_by_hand(expected, xxhsum(folder, bytes_of_image(image, label)));
    EXPECT_EQ(fingerprint.hex(), expected);
  }
}

TEST(ImagesFingerprint, DoesNotDependOnOrderOrGrouping) {
  std::vector<int64_t> images(100);
  std::iota(images.begin(), images.end(), 0);
  const std::string expected = of_images(images).hex();
  std::ranges::reverse(images);
  EXPECT_EQ(of_images(images).hex(), expected);
  ImagesFingerprint sum;
  for (const auto& [begin, end] : {std::pair{0, 1}, {1, 37}, {37, 100}})
    sum.add(of_images({images.begin() + begin, images.begin() + end}));
  EXPECT_EQ(sum.hex(), expected);
}

TEST(ImagesFingerprint, DiffersIfOneLabelOnePixelOrTheCountDiffers) {
  const ImagesFingerprint three = of_images({1, 2, 3});
  EXPECT_NE(of_images({1, 2, 3, 3}), three);
  EXPECT_NE(of_images({1, 2}), three);
  ImagesFingerprint label = of_images({1, 2}), pixel = label;
  label.add(tests::pixels_of(3, kShape), tests::label_of(3) + 1);
  EXPECT_NE(label, three);
  std::vector<uint8_t> pixels = tests::pixels_of(3, kShape);
  pixels[50] ^= 1;
  pixel.add(pixels, tests::label_of(3));
  EXPECT_NE(pixel, three);
}

TEST(ImagesFingerprint, ComesBackFromItsDigits) {
  const ImagesFingerprint fingerprint = of_images({5, 6});
  EXPECT_EQ(ImagesFingerprint::from_hex(fingerprint.hex()), fingerprint);
  for (const char* text : {"", "12", "0123456789abcdef0123456789abcdeF", "0123456789abcdef0123456789abcdef0"})
    tests::expect_refusal([&] { ImagesFingerprint::from_hex(text); }, {text, "32 hex digits"});
}

TEST(ShardWriter, WritesTheFingerprintOfItsImages) {
  const ScratchDirectory folder;
  for (const auto& [shape, count] : {std::pair{kShape, 2500}, {ImageShape{3, 1024, 512}, 5}}) {
    tests::write_shard(folder / "a.h5", shape, count, 10);
    ImagesFingerprint expected;
    for (int64_t image = 10; image < 10 + count; ++image)
      expected.add(tests::pixels_of(image, shape), tests::label_of(image));
    const data::Shard shard(folder / "a.h5");
    EXPECT_EQ(shard.attribute("images_xxh3_sum"), expected.hex());
    EXPECT_EQ(shard.verify(), (count + 1023) / 1024);
  }
}

}  // namespace
}  // namespace cfm
