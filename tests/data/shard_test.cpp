#include "data/shard.h"

#include <gtest/gtest.h>

#include "base/hash.h"
#include "data/shard_writer.h"
#include "support/data_support.h"
#include "support/shard_files.h"

namespace cfm {
namespace {

using data::ImageShape;
using data::Shard;
using data::ShardWriter;
using tests::ScratchDirectory;

constexpr ImageShape kShape{3, 4, 5};

TEST(Shard, GivesBackEveryImageAndLabelThatWasWritten) {
  const ScratchDirectory folder;
  tests::write_shard(folder / "a.h5", kShape, 1500);
  const Shard shard(folder / "a.h5");
  ASSERT_EQ(shard.size(), 1500);
  EXPECT_EQ(shard.image_shape(), kShape);
  std::vector<uint8_t> pixels(60);
  for (int64_t image = 0; image < 1500; ++image) {
    shard.read(image, pixels);
    ASSERT_EQ(pixels, tests::pixels_of(image, kShape)) << image;
    ASSERT_EQ(shard.labels()[static_cast<size_t>(image)], tests::label_of(image));
  }
}

TEST(Shard, ReadsSeveralImagesAtOnce) {
  const ScratchDirectory folder;
  tests::write_shard(folder / "a.h5", kShape, 20);
  std::vector<uint8_t> pixels(3 * 60);
  Shard(folder / "a.h5").read(17, pixels);
  for (int64_t i = 0; i < 3; ++i)
    EXPECT_EQ(std::vector<uint8_t>(pixels.begin() + 60 * i, pixels.begin() + 60 * (i + 1)),
              tests::pixels_of(17 + i, kShape));
}

TEST(Shard, RefusesToReadBeyondItsEnd) {
  const ScratchDirectory folder;
  tests::write_shard(folder / "a.h5", kShape, 20);
  const Shard shard(folder / "a.h5");
  std::vector<uint8_t> two(120), crooked(61);
  tests::expect_refusal([&] { shard.read(19, two); }, {"a.h5", "20 images", "image 19"});
  tests::expect_refusal([&] { shard.read(-1, two); }, {"a.h5"});
  tests::expect_refusal([&] { shard.read(0, crooked); }, {"61 bytes"});
}

TEST(Shard, HoldsAHashOfEvery1024Images) {
  const ScratchDirectory folder;
  tests::write_shard(folder / "a.h5", kShape, 2100);
  std::vector<std::string> expected;
  for (const auto& [first, end] : {std::pair{0, 1024}, {1024, 2048}, {2048, 2100}}) {
    std::vector<uint8_t> block;
    for (int64_t image = first; image < end; ++image)
      for (const uint8_t byte : tests::pixels_of(image, kShape)) block.push_back(byte);
    expected.push_back(xxh3_128_hex(block.data(), block.size()));
  }
  const Shard shard(folder / "a.h5");
  EXPECT_EQ(shard.block_hashes(), expected);
  EXPECT_EQ(shard.verify(), 3);
}

TEST(Shard, KeepsTextAttributesOfAnyLength) {
  const ScratchDirectory folder;
  const std::string long_text(100'000, 'x');
  tests::write_shard(folder / "a.h5", kShape, 5, 0, {{"source", "Zürich"}, {"label_map", long_text}, {"resize", ""}});
  const Shard shard(folder / "a.h5");
  EXPECT_EQ(shard.attribute("source"), "Zürich");
  EXPECT_EQ(shard.attribute("label_map"), long_text);
  EXPECT_EQ(shard.attribute("resize"), "");
  EXPECT_EQ(shard.attribute("none"), "");
  EXPECT_EQ(shard.attribute("format_version"), "1");
}

// Where the image's bytes lie in the file.
size_t place_of(const std::string& bytes, int64_t image) {
  const std::vector<uint8_t> pixels = tests::pixels_of(image, kShape);
  return bytes.find(std::string(pixels.begin(), pixels.end()));
}

TEST(Shard, FindsAFlippedBitByVerification) {
  const ScratchDirectory folder;
  tests::write_shard(folder / "a.h5", kShape, 2100);
  std::string bytes = tests::bytes_of(folder / "a.h5");
  const size_t place = place_of(bytes, 1500);
  ASSERT_NE(place, std::string::npos);
  bytes[place + 7] ^= 16;
  tests::write_bytes(folder / "a.h5", bytes);
  const Shard shard(folder / "a.h5");
  tests::expect_refusal([&] { shard.verify(); }, {"a.h5", "images 1024 to 2047", shard.block_hashes()[1]});
}

TEST(Shard, FindsAFlippedLabelAtOpen) {
  const ScratchDirectory folder;
  tests::write_shard(folder / "a.h5", kShape, 100);
  std::string bytes = tests::bytes_of(folder / "a.h5");
  std::string labels(100 * 8, '\0');
  for (size_t i = 0; i < 100; ++i) labels[8 * i] = static_cast<char>(tests::label_of(static_cast<int64_t>(i)));
  const size_t place = bytes.find(labels);
  ASSERT_NE(place, std::string::npos);
  bytes[place + 8 * 50] ^= 1;
  tests::write_bytes(folder / "a.h5", bytes);
  tests::expect_refusal([&] { Shard(folder / "a.h5"); }, {"a.h5", "labels", "damaged"});
}

TEST(Shard, RefusesATruncatedFileWhereverItEnds) {
  const ScratchDirectory folder;
  tests::write_shard(folder / "a.h5", kShape, 2100);
  const std::string bytes = tests::bytes_of(folder / "a.h5");
  for (const size_t size : {bytes.size() - 1, bytes.size() / 2, size_t{5000}, size_t{96}}) {
    tests::write_bytes(folder / "b.h5", bytes.substr(0, size));
    tests::expect_refusal([&] { Shard(folder / "b.h5"); }, {"b.h5", "truncated file", "Copy or pack the file again"});
  }
}

TEST(Shard, RefusesWhatIsNoHdf5File) {
  const ScratchDirectory folder;
  tests::write_bytes(folder / "text.h5", "hello, world");
  tests::write_bytes(folder / "empty.h5", "");
  tests::expect_refusal([&] { Shard(folder / "text.h5"); }, {"text.h5", "not an HDF5 file"});
  tests::expect_refusal([&] { Shard(folder / "empty.h5"); }, {"empty.h5", "0 bytes"});
  tests::expect_refusal([&] { Shard(folder / "none.h5"); }, {"none.h5", "No such file"});
  tests::expect_refusal([&] { Shard(folder.path()); }, {"not a regular file"});
}

TEST(Shard, NamesItselfWhenItShrinksWhileItIsRead) {
  const ScratchDirectory folder;
  tests::write_shard(folder / "a.h5", kShape, 2100);
  const Shard shard(folder / "a.h5");
  std::filesystem::resize_file(folder / "a.h5", 20'000);
  std::vector<uint8_t> pixels(60);
  tests::expect_refusal([&] { shard.read(2000, pixels); }, {"a.h5", "shrunk"});
}

TEST(ShardWriter, LeavesNothingBehindUnlessItFinishes) {
  const ScratchDirectory folder;
  {
    ShardWriter writer(folder / "a.h5", kShape, 2, {});
    writer.append(tests::pixels_of(0, kShape), 0);
    EXPECT_TRUE(std::filesystem::exists(folder / "a.h5.tmp"));
    EXPECT_THROW(writer.finish(), Error);
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(ShardWriter, RefusesAnImageOfAnotherSizeANegativeLabelAndOneTooMany) {
  const ScratchDirectory folder;
  ShardWriter writer(folder / "a.h5", kShape, 1, {});
  EXPECT_THROW(writer.append(std::vector<uint8_t>(59), 0), Error);
  EXPECT_THROW(writer.append(std::vector<uint8_t>(60), -1), Error);
  writer.append(std::vector<uint8_t>(60), 0);
  EXPECT_THROW(writer.append(std::vector<uint8_t>(60), 0), Error);
  writer.finish();
}

TEST(ShardWriter, SaysWhenItCannotCreateItsFile) {
  try {
    ShardWriter writer("/nonexistent/a.h5", kShape, 1, {});
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("/nonexistent/a.h5.tmp"), std::string::npos) << error.what();
    EXPECT_EQ(error.exit_code(), ExitCode::kRetry);
  }
}

}  // namespace
}  // namespace cfm
