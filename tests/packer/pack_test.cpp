#include "packer/pack.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "data/fingerprint.h"
#include "packer/grey_levels.h"
#include "support/data_support.h"
#include "support/packed_images.h"
#include "support/packing.h"

namespace cfm {
namespace {

using data::ImageShape;
using packer::PackConfig;
using packer::PackReport;
using tests::ScratchDirectory;

constexpr ImageShape kShape{3, 2, 4};

PackConfig config_for(const ScratchDirectory& folder, const std::string& source, const std::string& split = "train") {
  return {.source = folder / source, .out = folder / "out", .split = split};
}

std::vector<int64_t> sorted(std::vector<int64_t> numbers) {
  std::ranges::sort(numbers);
  return numbers;
}

std::vector<int64_t> range(int64_t first, int64_t count) {
  std::vector<int64_t> numbers(static_cast<size_t>(count));
  std::iota(numbers.begin(), numbers.end(), first);
  return numbers;
}

TEST(Pack, PutsEveryImageOfTheSourceOnceIntoTheShardsWithItsLabel) {
  const ScratchDirectory folder;
  tests::write_images_npz(folder / "a.npz", 2500, kShape);
  PackConfig config = config_for(folder, "a.npz");
  config.shards = 3;
  const PackReport report = tests::pack(config);
  EXPECT_EQ(report.images, 2500);
  EXPECT_EQ(report.classes, 10);
  EXPECT_EQ(report.image_shape, kShape);
  EXPECT_EQ(report.fingerprint.files, data::Dataset::open(folder / "out/train").fingerprint().files);
  std::vector<int64_t> sizes;
  for (const char* name : {"train-00000-of-00003.h5", "train-00001-of-00003.h5", "train-00002-of-00003.h5"})
    sizes.push_back(data::Shard(folder / ("out/train/" + std::string(name))).size());
  EXPECT_EQ(sizes, (std::vector<int64_t>{833, 833, 834}));
  const auto numbers = tests::source_numbers(tests::packed_images(folder / "out/train"), 2500, kShape);
  EXPECT_NE(numbers, range(0, 2500));
  EXPECT_EQ(sorted(numbers), range(0, 2500));
}

TEST(Pack, ShufflesOverAllShards) {
  const ScratchDirectory folder;
  tests::write_images_npz(folder / "a.npz", 2000, kShape);
  PackConfig config = config_for(folder, "a.npz");
  config.shards = 2;
  tests::pack(config);
  const auto numbers = tests::source_numbers(tests::packed_images(folder / "out/train"), 2000, kShape);
  const auto early =
      std::count_if(numbers.begin(), numbers.begin() + 1000, [](int64_t number) { return number < 1000; });
  EXPECT_NEAR(static_cast<double>(early), 500, 80);  // standard deviation 11
}

TEST(Pack, MakesTheSameBytesFromTheSameSeedOnly) {
  const ScratchDirectory folder;
  tests::write_images_npz(folder / "a.npz", 300, kShape);
  PackConfig config = config_for(folder, "a.npz");
  tests::pack(config);
  const std::string first = tests::bytes_of(folder / "out/train/train-00000-of-00001.h5");
  ::sleep(1);  // a time stamp would differ now
  config.overwrite = true;
  config.threads = 1;
  tests::pack(config);
  EXPECT_TRUE(first == tests::bytes_of(folder / "out/train/train-00000-of-00001.h5"));
  config.seed = 1;
  tests::pack(config);
  EXPECT_FALSE(first == tests::bytes_of(folder / "out/train/train-00000-of-00001.h5"));
}

TEST(Pack, FingerprintsTheImagesWhateverTheSeedAndNumberOfShards) {
  const ScratchDirectory folder;
  data::ImagesFingerprint expected;
  for (int64_t i = 0; i < 300; ++i) expected.add(tests::pixels_of(i, kShape), tests::label_of(i));
  tests::write_images_npz(folder / "a.npz", 300, kShape);
  PackConfig config = config_for(folder, "a.npz");
  config.overwrite = true;
  std::set<std::string> as_packed;
  for (const uint64_t seed : {0, 1})
    for (const int64_t shards : {1, 2, 7}) {
      config.seed = seed;
      config.shards = shards;
      const PackReport report = tests::pack(config);
      EXPECT_EQ(report.fingerprint.images, expected.hex());
      as_packed.insert(report.fingerprint.files);
    }
  EXPECT_EQ(as_packed.size(), 6U);

  const auto fingerprint_with = [&](const char* array, size_t place) {
    std::map<std::string, data::NumpyArray> arrays = data::read_npz(folder / "a.npz");
    arrays.at(array).bytes[place] ^= 1;
    data::write_npz(folder / "b.npz", arrays);
    config.source = folder / "b.npz";
    return tests::pack(config).fingerprint.images;
  };
  EXPECT_NE(fingerprint_with("labels", 123), expected.hex());
  EXPECT_NE(fingerprint_with("images", 123), expected.hex());
}

TEST(Pack, TakesRangesOfTheSourceAsSplits) {
  const ScratchDirectory folder;
  tests::write_images_npz(folder / "a.npz", 100, kShape);
  PackConfig config = config_for(folder, "a.npz");
  config.count = 70;
  tests::pack(config);
  config.split = "val";
  config.first = 70;
  config.count = 0;
  tests::pack(config);
  EXPECT_EQ(sorted(tests::source_numbers(tests::packed_images(folder / "out/train"), 100, kShape)), range(0, 70));
  EXPECT_EQ(sorted(tests::source_numbers(tests::packed_images(folder / "out/val"), 100, kShape)), range(70, 30));
  config.split = "test";
  config.first = 90;
  config.count = 11;
  tests::expect_refusal([&] { tests::pack(config); }, {"--first=90", "--count=11", "100 images"});
}

TEST(Pack, WritesWhereTheImagesCameFrom) {
  const ScratchDirectory folder;
  tests::write_images_npz(folder / "a.npz", 30, kShape);
  PackConfig config = config_for(folder, "a.npz");
  config.first = 5;
  config.shards = 2;
  tests::pack(config);
  const data::Shard shard(folder / "out/train/train-00001-of-00002.h5");
  EXPECT_NE(shard.attribute("source").find("a.npz"), std::string::npos);
  EXPECT_NE(shard.attribute("source").find("images 5 to 29 of 30"), std::string::npos);
  EXPECT_EQ(shard.attribute("resize"), "none");
  EXPECT_EQ(shard.attribute("shard"), "1");
  EXPECT_EQ(shard.attribute("shards"), "2");
}

TEST(Pack, RefusesToTouchWhatExistsUnlessAsked) {
  const ScratchDirectory folder;
  tests::write_images_npz(folder / "a.npz", 30, kShape);
  tests::write_images_npz(folder / "b.npz", 20, kShape);
  tests::pack(config_for(folder, "a.npz"));
  PackConfig config = config_for(folder, "b.npz");
  tests::expect_refusal([&] { tests::pack(config); }, {"out/train", "exists", "--overwrite"});
  EXPECT_EQ(data::Dataset::open(folder / "out/train").size(), 30);
  config.overwrite = true;
  tests::pack(config);
  EXPECT_EQ(data::Dataset::open(folder / "out/train").size(), 20);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder / "out"), {}), 1);
}

TEST(Pack, NeverReplacesAFolderThatHoldsOtherThings) {
  const ScratchDirectory folder;
  tests::write_images_npz(folder / "a.npz", 30, kShape);
  folder.write("out/train/thesis.tex", "years of work");
  PackConfig config = config_for(folder, "a.npz");
  config.overwrite = true;
  tests::expect_refusal([&] { tests::pack(config); }, {"out/train", "thesis.tex"});
  EXPECT_EQ(tests::bytes_of(folder / "out/train/thesis.tex"), "years of work");
}

TEST(Pack, RefusesMoreShardsThanImages) {
  const ScratchDirectory folder;
  tests::write_images_npz(folder / "a.npz", 3, kShape);
  PackConfig config = config_for(folder, "a.npz");
  config.shards = 4;
  tests::expect_refusal([&] { tests::pack(config); }, {"--shards=4", "3 images"});
}

TEST(PackConfig, ListsAllProblems) {
  const PackConfig config{.split = "a/b",
                          .shards = 0,
                          .size = -1,
                          .channels = 2,
                          .first = -1,
                          .count = -1,
                          .grey_levels = 1,
                          .threads = -1};
  const Problems problems = config.validate();
  ASSERT_EQ(problems.size(), 10U);
  for (const char* flag : {"--source", "--out", "--split", "--shards", "--size", "--channels", "--first", "--count",
                           "--grey_levels", "--threads"})
    EXPECT_TRUE(std::ranges::any_of(problems, [&](const std::string& problem) { return problem.starts_with(flag); }))
        << flag;
}

// The level of a byte: levels whose first byte is not above it, less one.
int64_t level_of(uint8_t byte, int64_t levels) {
  int64_t level = -1;
  for (int64_t k = 0; k < levels; ++k)
    if (256 * k / levels <= byte) level = k;
  return level;
}

TEST(GreyLevels, AreSpreadUniformlyWithinTheirBytes) {
  for (const int64_t levels : {2, 16, 17, 256}) {
    std::vector<int> counts(256, 0);
    for (int64_t image = 0; image < 200; ++image) {
      data::Image grey{{1, 1, 17 * 16 * 2}, {}};
      for (int64_t i = 0; i < grey.shape.width; ++i) grey.pixels.push_back(static_cast<uint8_t>(i % levels));
      data::Image spread = grey;
      packer::spread_grey_levels(spread, levels, 3, image);
      for (size_t i = 0; i < grey.pixels.size(); ++i) {
        ASSERT_EQ(level_of(spread.pixels[i], levels), grey.pixels[i]);
        ++counts[spread.pixels[i]];
      }
    }
    for (int64_t level = 0; level < levels; ++level) {
      const int64_t low = 256 * level / levels, high = 256 * (level + 1) / levels;
      const double mean =
          std::accumulate(counts.begin() + low, counts.begin() + high, 0.0) / static_cast<double>(high - low);
      for (int64_t byte = low; byte < high; ++byte)
        EXPECT_NEAR(counts[static_cast<size_t>(byte)], mean, 6 * std::sqrt(mean));
    }
  }
}

TEST(GreyLevels, AreKeyedBySeedAndImage) {
  const data::Image grey{{1, 8, 8}, std::vector<uint8_t>(64, 1)};
  const auto spread = [&grey](uint64_t seed, int64_t image_id) {
    data::Image image = grey;
    packer::spread_grey_levels(image, 2, seed, image_id);
    return image.pixels;
  };
  EXPECT_EQ(spread(1, 5), spread(1, 5));
  EXPECT_NE(spread(1, 5), spread(2, 5));
  EXPECT_NE(spread(1, 5), spread(1, 6));
}

TEST(GreyLevels, BeyondTheirNumberAreRefusedNamingTheImage) {
  const ScratchDirectory folder;
  data::write_npz(folder / "a.npz", {{"x", {"|u1", {2, 1, 2}, {0, 16, 17, 0}}}});
  PackConfig config = config_for(folder, "a.npz");
  config.grey_levels = 17;
  tests::expect_refusal([&] { tests::pack(config); }, {"image 1 of", "a.npz", "17", "--grey_levels"});
  EXPECT_FALSE(std::filesystem::exists(folder / "out/train"));
}

// The digits of the repository, as the demo packs them.
TEST(Digits, ArePackedIntoThreeSplitsThatHoldEveryClassAndTheirLevels) {
  const ScratchDirectory folder;
  const auto source = data::read_npz(CFM_SOURCE_DIR "/configs/digits/digits.npz");
  std::map<std::string, int> left;  // images and labels not found again yet
  const std::vector<int64_t> labels = source.at("labels").as_int64();
  const std::vector<uint8_t>& levels = source.at("images").bytes;
  ASSERT_EQ(labels.size(), 1797U);
  ASSERT_EQ(levels.size(), 1797U * 64);
  for (size_t i = 0; i < labels.size(); ++i) {
    std::string key(levels.begin() + static_cast<std::ptrdiff_t>(64 * i),
                    levels.begin() + static_cast<std::ptrdiff_t>(64 * i + 64));
    key += static_cast<char>(labels[i]);
    ++left[key];
  }
  int64_t first = 0;
  for (const auto& [split, count] : {std::pair{"train", 1297}, {"val", 200}, {"test", 300}}) {
    PackConfig config{.source = CFM_SOURCE_DIR "/configs/digits/digits.npz",
                      .out = folder.path(),
                      .split = split,
                      .first = first,
                      .count = count,
                      .grey_levels = 17};
    EXPECT_EQ(tests::pack(config).images, count);
    first += count;
    std::vector<int> of_class(10, 0);
    for (const tests::PackedImage& image : tests::packed_images(folder / split)) {
      std::string key;
      for (const uint8_t byte : image.pixels) key += static_cast<char>(level_of(byte, 17));
      key += static_cast<char>(image.label);
      --left[key];
      ++of_class[static_cast<size_t>(image.label)];
    }
    EXPECT_GE(std::ranges::min(of_class), 18);
  }
  EXPECT_TRUE(std::ranges::all_of(left, [](const auto& entry) { return entry.second == 0; }));
}

}  // namespace
}  // namespace cfm

int main(int argc, char** argv) { return cfm::test::run_mpi_tests(argc, argv); }
