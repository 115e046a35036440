// What cfm_pack reads: class folders, flat folders, numpy arrays in their layouts; and what it says of what it cannot
// read.

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>

#include "packer/image_source.h"
#include "packer/pack.h"
#include "support/data_support.h"
#include "support/packed_images.h"
#include "support/packing.h"

namespace cfm {
namespace {

using data::Image;
using data::ImageShape;
using packer::PackConfig;
using tests::ScratchDirectory;

constexpr ImageShape kColour{3, 5, 4}, kGrey{1, 5, 4};

void write_image(const ScratchDirectory& folder, const std::string& name, int64_t number, ImageShape shape = kColour) {
  const std::filesystem::path file = folder / name;
  std::filesystem::create_directories(file.parent_path());
  data::write_png(file, {shape, tests::pixels_of(number, shape)});
}

PackConfig config_for(const ScratchDirectory& folder) { return {.source = folder / "in", .out = folder / "out"}; }

std::vector<tests::PackedImage> sorted(std::vector<tests::PackedImage> images) {
  std::ranges::sort(images, {}, [](const tests::PackedImage& image) { return std::pair(image.label, image.pixels); });
  return images;
}

std::vector<tests::PackedImage> expected(const std::vector<std::pair<int64_t, int64_t>>& numbers_and_labels) {
  std::vector<tests::PackedImage> images;
  for (const auto& [number, label] : numbers_and_labels) images.push_back({tests::pixels_of(number, kColour), label});
  return sorted(images);
}

TEST(FolderSource, LabelsClassFoldersByTheirSortedNames) {
  const ScratchDirectory folder;
  write_image(folder, "in/n02/b.png", 1);
  write_image(folder, "in/n01/x.PNG", 2);
  write_image(folder, "in/n10/deep/er/c.jpeg", 3);  // read by content, not by name
  write_image(folder, "in/n02/a.png", 4);
  folder.write("in/n02/notes.txt", "not an image");
  tests::pack(config_for(folder));
  EXPECT_EQ(sorted(tests::packed_images(folder / "out/train")), expected({{2, 0}, {1, 1}, {4, 1}, {3, 2}}));
  EXPECT_EQ(data::Shard(folder / "out/train/train-00000-of-00001.h5").attribute("label_map"),
            R"({"n01":0,"n02":1,"n10":2})");
}

TEST(FolderSource, LabelsAFlatFolderZero) {
  const ScratchDirectory folder;
  for (int64_t i = 0; i < 4; ++i) write_image(folder, "in/" + std::to_string(i) + ".png", i);
  tests::pack(config_for(folder));
  EXPECT_EQ(sorted(tests::packed_images(folder / "out/train")), expected({{0, 0}, {1, 0}, {2, 0}, {3, 0}}));
  const std::vector<std::string> notes = packer::open_source(folder / "in", {.spool_folder = folder.path()}).notes;
  ASSERT_EQ(notes.size(), 1U);
  EXPECT_NE(notes[0].find("no classes: every image gets the label 0"), std::string::npos) << notes[0];
}

TEST(FolderSource, APipeAmongItsImagesIsUnreadableAndNothingWaitsForIt) {
  const ScratchDirectory folder;
  write_image(folder, "in/a.png", 1);
  ASSERT_EQ(::mkfifo((folder / "in/b.png").c_str(), 0600), 0);
  const auto source = packer::open_source(folder / "in", {.spool_folder = folder.path()});
  tests::expect_refusal([&] { source.read(1); }, {"b.png", "not a regular file"});
}

TEST(FolderSource, OfSplitsIsRefusedNamingTheCommandForTheSplit) {
  const ScratchDirectory folder;
  write_image(folder, "in/extra/a.png", 1);
  write_image(folder, "in/train/a.png", 2);
  tests::expect_refusal([&] { tests::pack(config_for(folder)); },
                        {"holds the folder train", "--source=" + (folder / "in/train").string() + " --split=train"});
}

TEST(FolderSource, RefusesImagesBesideClassFoldersAndClassesWithoutImages) {
  const ScratchDirectory folder;
  write_image(folder, "in/n01/a.png", 1);
  write_image(folder, "in/stray.png", 2);
  tests::expect_refusal([&] { tests::pack(config_for(folder)); }, {"stray.png", "n01"});
  std::filesystem::remove(folder / "in/stray.png");
  std::filesystem::create_directories(folder / "in/n00");
  tests::expect_refusal([&] { tests::pack(config_for(folder)); }, {"n00", "no .png"});
  std::filesystem::remove_all(folder / "in");
  std::filesystem::create_directories(folder / "in");
  tests::expect_refusal([&] { tests::pack(config_for(folder)); }, {"/in holds no"});
}

TEST(FolderSource, RefusesImagesOfDifferentSizesNamingTwo) {
  const ScratchDirectory folder;
  for (int64_t i = 0; i < 9; ++i)
    write_image(folder, "in/" + std::to_string(i) + ".png", i, i == 6 ? ImageShape{3, 5, 6} : kColour);
  PackConfig config = config_for(folder);
  tests::expect_refusal([&] { tests::pack(config); }, {"in/6.png", "6x5 pixels", "4x5 pixels", "in/0.png"});
  EXPECT_FALSE(std::filesystem::exists(folder / "out/train"));
  config.size = 4;
  tests::expect_refusal([&] { tests::pack(config); }, {".png", "4x4 pixels", "--size"});
}

TEST(FolderSource, ResizesImagesOfAnySizeIfAskedAndSaysSo) {
  const ScratchDirectory folder;
  write_image(folder, "in/0.png", 0, {3, 8, 12});
  write_image(folder, "in/1.png", 1, {1, 30, 9});
  PackConfig config = config_for(folder);
  config.resize = packer::Resize::kAdm;
  tests::expect_refusal([&] { tests::pack(config); }, {"--resize=adm", "--size"});
  config.size = 4;
  EXPECT_EQ(tests::pack(config).image_shape, (ImageShape{3, 4, 4}));
  EXPECT_EQ(data::Shard(folder / "out/train/train-00000-of-00001.h5").attribute("resize"), "adm");
  config.resize = packer::Resize::kBox;
  config.overwrite = true;
  tests::pack(config);
  // 8x12 to 4x4 by box: the mean of 2x3 bytes, rounded after 3 and after 2.
  const std::vector<uint8_t> in = tests::pixels_of(0, {3, 8, 12});
  std::vector<uint8_t> out;
  for (size_t row = 0; row < 12; ++row)
    for (size_t x = 0; x < 4; ++x) {
      const auto third = [&](size_t y) {
        const size_t at = y * 12 + 3 * x;
        return (in[at] + in[at + 1] + in[at + 2] + 1) / 3;
      };
      out.push_back(static_cast<uint8_t>((third(2 * row) + third(2 * row + 1) + 1) / 2));
    }
  const std::vector<tests::PackedImage> packed = tests::packed_images(folder / "out/train");
  EXPECT_TRUE(packed[0].pixels == out || packed[1].pixels == out);
}

TEST(FolderSource, TurnsGreyIntoColourAmongColourButNotTheReverse) {
  const ScratchDirectory folder;
  write_image(folder, "in/0.png", 0, kColour);
  write_image(folder, "in/1.png", 1, kGrey);
  tests::pack(config_for(folder));
  std::vector<uint8_t> repeated;
  for (int c = 0; c < 3; ++c)
    for (const uint8_t byte : tests::pixels_of(1, kGrey)) repeated.push_back(byte);
  EXPECT_EQ(sorted(tests::packed_images(folder / "out/train")),
            sorted({{tests::pixels_of(0, kColour), 0}, {repeated, 0}}));

  write_image(folder, "in/0.png", 0, kGrey);
  write_image(folder, "in/1.png", 1, kColour);
  PackConfig config = config_for(folder);
  config.overwrite = true;
  tests::expect_refusal([&] { tests::pack(config); }, {"in/1.png", "in/0.png", "--channels=3"});
  config.channels = 3;
  EXPECT_EQ(tests::pack(config).image_shape, kColour);
}

TEST(FolderSource, ReportsUnreadableImagesAndPacksNothingThatLacksThem) {
  const ScratchDirectory folder;
  for (int64_t i = 0; i < 20; ++i) write_image(folder, "in/" + std::to_string(10 + i) + ".png", i);
  folder.write("in/13.png", "no image");
  folder.write("in/27.png", "");
  PackConfig config = config_for(folder);
  config.shards = 3;
  ::testing::internal::CaptureStderr();
  tests::expect_refusal(
      [&] { tests::pack(config); },
      {"2 images cannot be read", "\n  " + (folder / "in/13.png").string() + "\n", "in/27.png", "--allow_unreadable"});
  const std::string said = ::testing::internal::GetCapturedStderr();
  EXPECT_NE(said.find("in/13.png is neither a PNG nor a JPEG"), std::string::npos) << said;
  EXPECT_NE(said.find("in/27.png is empty"), std::string::npos) << said;
  EXPECT_FALSE(std::filesystem::exists(folder / "out/train"));
}

TEST(FolderSource, LeavesOutUnreadableImagesIfAllowedAndKeepsTheOrderOfTheOthers) {
  const ScratchDirectory folder;
  for (int64_t i = 0; i < 20; ++i) write_image(folder, "in/" + std::to_string(10 + i) + ".png", i);
  PackConfig config = config_for(folder);
  config.shards = 3;
  tests::pack(config);
  std::vector<tests::PackedImage> survivors = tests::packed_images(folder / "out/train");
  std::erase_if(survivors, [](const tests::PackedImage& image) {
    return image.pixels == tests::pixels_of(3, kColour) || image.pixels == tests::pixels_of(0, kColour);
  });
  folder.write("in/10.png", "no image");  // the first: it gives the shape unless it cannot be read
  folder.write("in/13.png", "no image");
  config.allow_unreadable = config.overwrite = true;
  const packer::PackReport report = tests::pack(config);
  EXPECT_EQ(report.images, 18);
  EXPECT_EQ(report.unreadable.size(), 2U);
  EXPECT_EQ(tests::packed_images(folder / "out/train"), survivors);
}

TEST(FolderSource, IsRefusedIfNothingInItCanBeRead) {
  const ScratchDirectory folder;
  folder.write("in/1.png", "no image");
  folder.write("in/2.png", "nor this");
  PackConfig config = config_for(folder);
  config.allow_unreadable = true;
  tests::expect_refusal([&] { tests::pack(config); }, {"none of the 2 images", "in/1.png"});
}

// The same five images in each layout that numpy files come in.
TEST(ArraySource, GivesTheSameShardsFromEveryLayout) {
  const ScratchDirectory folder;
  constexpr ImageShape shape{3, 4, 4};
  data::NumpyArray planar{"|u1", {5, 3, 4, 4}, {}}, interleaved{"|u1", {5, 4, 4, 3}, {}}, rows{"|u1", {5, 48}, {}};
  for (int64_t image = 0; image < 5; ++image) {
    const std::vector<uint8_t> pixels = tests::pixels_of(image, shape);
    planar.bytes.insert(planar.bytes.end(), pixels.begin(), pixels.end());
    for (size_t i = 0; i < 16; ++i)
      for (size_t c = 0; c < 3; ++c) interleaved.bytes.push_back(pixels[16 * c + i]);
  }
  rows.bytes = planar.bytes;
  const data::NumpyArray labels{"|u1", {5}, {0, 1, 2, 3, 4}};
  const data::NumpyArray column{"<i4", {5, 1}, {0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0}};
  data::write_npz(folder / "a.npz", {{"arr_0", planar}, {"arr_1", labels}});
  data::write_npz(folder / "b.npz", {{"images", interleaved}, {"labels", column}});
  data::write_npz(folder / "c.npz", {{"data", rows}, {"labels", labels}, {"mean", labels}});
  data::write_npz(folder / "d.npz", {{"X", planar}, {"Y", labels}});
  std::vector<tests::PackedImage> images;
  for (int64_t image = 0; image < 5; ++image) images.push_back({tests::pixels_of(image, shape), image});
  for (const char* name : {"a.npz", "b.npz", "c.npz", "d.npz"}) {
    tests::pack(
        {.source = folder / name, .out = folder / "out", .split = name[0] == 'a' ? "a" : std::string(1, name[0])});
    EXPECT_EQ(sorted(tests::packed_images(folder / ("out/" + std::string(1, name[0])))), sorted(images)) << name;
  }
}

std::string npy(const std::string& type, const std::string& shape, const std::string& data) {
  const std::string header = "{'descr': '" + type + "', 'fortran_order': False, 'shape': " + shape + ", }\n";
  return std::string("\x93NUMPY\x01\x00", 8) + static_cast<char>(header.size()) + '\0' + header + data;
}

TEST(ArraySource, ReadsGreyImagesAndTheirLabelsFromTwoNpyFiles) {
  const ScratchDirectory folder;
  folder.write("x.npy", npy("|u1", "(2, 1, 2)", "abcd"));
  folder.write("y.npy", npy("|u1", "(2,)", std::string("\x05\x06")));
  tests::pack({.source = (folder / "x.npy").string() + "," + (folder / "y.npy").string(), .out = folder / "out"});
  EXPECT_EQ(sorted(tests::packed_images(folder / "out/train")), sorted({{{'a', 'b'}, 5}, {{'c', 'd'}, 6}}));
  tests::pack({.source = folder / "x.npy", .out = folder / "out", .split = "unlabelled"});
  EXPECT_EQ(sorted(tests::packed_images(folder / "out/unlabelled")), sorted({{{'a', 'b'}, 0}, {{'c', 'd'}, 0}}));
}

TEST(ArraySource, RefusesWhatItCannotTakeForImagesNamingIt) {
  const ScratchDirectory folder;
  const auto refused = [&](const std::map<std::string, data::NumpyArray>& arrays,
                           const std::vector<std::string>& words) {
    data::write_npz(folder / "a.npz", arrays);
    tests::expect_refusal([&] { tests::pack({.source = folder / "a.npz", .out = folder / "out"}); }, words);
  };
  const auto bytes = [](size_t n) { return std::vector<uint8_t>(n, 255); };
  const data::NumpyArray good{"|u1", {2, 2, 2}, bytes(8)};
  refused({{"pixels", good}}, {"a.npz", "pixels", "expected images"});
  refused({{"images", {"<i4", {2, 2, 2}, bytes(32)}}}, {"images", "<i4", "uint8"});
  refused({{"images", {"|u1", {2, 3, 5, 3}, bytes(90)}}}, {"(2,3,5,3)", "no doubt"});
  refused({{"images", {"|u1", {2, 7}, bytes(14)}}}, {"(2,7)"});
  refused({{"images", {"|u1", {0, 2, 2}, {}}}}, {"no images"});
  refused({{"images", good}, {"labels", {"|u1", {3}, bytes(3)}}}, {"labels", "(3,)", "(2,)"});
  refused({{"images", good}, {"labels", {"<i4", {2}, bytes(8)}}}, {"labels", "negative"});
}

TEST(Source, IsRefusedIfItIsNothingThatIsRead) {
  const ScratchDirectory folder;
  folder.write("a.txt", "x");
  folder.write("a.tar.gz", "x");
  tests::expect_refusal([&] { tests::pack({.source = folder / "a.txt", .out = folder / "out"}); },
                        {"--source", "a.txt", "neither"});
  tests::expect_refusal([&] { tests::pack({.source = folder / "a.tar.gz", .out = folder / "out"}); },
                        {"--source", "a.tar.gz", "compressed"});
  tests::expect_refusal([&] { tests::pack({.source = folder / "none", .out = folder / "out"}); },
                        {"--source", "none", "no such"});
}

}  // namespace
}  // namespace cfm

int main(int argc, char** argv) { return cfm::test::run_mpi_tests(argc, argv); }
