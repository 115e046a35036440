#include "data/image_file.h"

#include <gtest/gtest.h>

#include "support/data_support.h"

namespace cfm {
namespace {

using data::Image;
using tests::ScratchDirectory;

Image gradient(int64_t channels, int64_t height, int64_t width) {
  Image image{{channels, height, width}, {}};
  for (int64_t i = 0; i < image.shape.bytes(); ++i) image.pixels.push_back(static_cast<uint8_t>(i * 37 % 251));
  return image;
}

TEST(Png, IsReadAsItWasWritten) {
  const ScratchDirectory folder;
  for (const int64_t channels : {1, 3})
    for (const auto& [height, width] : {std::pair{1, 1}, {5, 9}, {64, 33}}) {
      const Image image = gradient(channels, height, width);
      data::write_png(folder / "a.png", image);
      const Image read = data::read_image(folder / "a.png");
      EXPECT_EQ(read.shape, image.shape);
      EXPECT_EQ(read.pixels, image.pixels);
    }
}

TEST(Png, IsRefusedByNameWhereverItIsCutOff) {
  const ScratchDirectory folder;
  data::write_png(folder / "a.png", gradient(3, 20, 20));
  const std::string bytes = tests::bytes_of(folder / "a.png");
  for (size_t size = 8; size < bytes.size(); ++size)
    tests::expect_refusal([&] { data::decode_image(bytes.substr(0, size), "cut.png"); }, {"cut.png", "damaged PNG"});
}

TEST(Png, IsRefusedIfAByteWasChanged) {
  const ScratchDirectory folder;
  data::write_png(folder / "a.png", gradient(3, 20, 20));
  const std::string bytes = tests::bytes_of(folder / "a.png");
  std::string damaged = bytes;
  damaged[bytes.find("IDAT") + 20] ^= 4;
  tests::expect_refusal([&] { data::decode_image(damaged, "flipped.png"); }, {"flipped.png", "damaged PNG"});
}

TEST(Png, OfAbsurdSizeIsRefusedBeforeMemoryIsAskedFor) {
  const ScratchDirectory folder;
  data::write_png(folder / "a.png", gradient(1, 2, 2));
  std::string bytes = tests::bytes_of(folder / "a.png");
  // Width and height 65535 with the checksum that belongs to them.
  bytes.replace(16, 8, std::string("\x00\x00\xff\xff\x00\x00\xff\xff", 8));
  uint32_t crc = 0xffffffff;
  for (size_t i = 12; i < 29; ++i) {
    crc ^= static_cast<unsigned char>(bytes[i]);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  for (size_t i = 0; i < 4; ++i) bytes[29 + i] = static_cast<char>(~crc >> (24 - 8 * i));
  tests::expect_refusal([&] { data::decode_image(bytes, "huge.png"); }, {"huge.png", "65535x65535"});
}

TEST(ImageFile, IsRefusedIfItIsNoImage) {
  const ScratchDirectory folder;
  tests::write_bytes(folder / "a.png", "GIF89a");
  tests::write_bytes(folder / "b.png", "");
  tests::expect_refusal([&] { data::read_image(folder / "a.png"); }, {"a.png", "neither a PNG nor a JPEG"});
  tests::expect_refusal([&] { data::read_image(folder / "b.png"); }, {"b.png", "empty"});
  tests::expect_refusal([&] { data::read_image(folder / "none.png"); }, {"none.png"});
}

TEST(ImageGrid, PutsImagesInRowsWithMargins) {
  const auto image = [](uint8_t value) { return Image{{1, 1, 2}, {value, static_cast<uint8_t>(value + 1)}}; };
  const Image grid = data::image_grid({image(10), image(20), image(30)}, 2, 1, 0);
  EXPECT_EQ(grid.shape, (data::ImageShape{1, 5, 7}));
  EXPECT_EQ(grid.pixels, (std::vector<uint8_t>{0, 0,  0,  0, 0,  0,  0,  //
                                               0, 10, 11, 0, 20, 21, 0,  //
                                               0, 0,  0,  0, 0,  0,  0,  //
                                               0, 30, 31, 0, 0,  0,  0,  //
                                               0, 0,  0,  0, 0,  0,  0}));
}

TEST(ImageGrid, MagnifiesEachPixelOfEachChannel) {
  const Image colour{{3, 1, 2}, {1, 2, 3, 4, 5, 6}};
  const Image grid = data::image_grid({colour}, 8, 0, 0, 2);
  EXPECT_EQ(grid.shape, (data::ImageShape{3, 2, 4}));
  EXPECT_EQ(grid.pixels,
            (std::vector<uint8_t>{1, 1, 2, 2, 1, 1, 2, 2, 3, 3, 4, 4, 3, 3, 4, 4, 5, 5, 6, 6, 5, 5, 6, 6}));
}

TEST(ImageGrid, RefusesImagesOfDifferentShapes) {
  EXPECT_THROW(data::image_grid({gradient(1, 2, 2), gradient(1, 2, 3)}, 2), Error);
  EXPECT_THROW(data::image_grid({}, 2), Error);
}

TEST(WithChannels, RepeatsGreyAsColourAndRefusesTheReverse) {
  EXPECT_EQ(data::with_channels({{1, 1, 2}, {7, 8}}, 3).pixels, (std::vector<uint8_t>{7, 8, 7, 8, 7, 8}));
  EXPECT_EQ(data::with_channels({{1, 1, 2}, {7, 8}}, 1).pixels, (std::vector<uint8_t>{7, 8}));
  EXPECT_THROW(data::with_channels(gradient(3, 2, 2), 1), Error);
}

}  // namespace
}  // namespace cfm
