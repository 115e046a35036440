#include "data/dataset.h"

#include <gtest/gtest.h>

#include "support/data_support.h"
#include "support/shard_files.h"

namespace cfm {
namespace {

using data::Dataset;
using data::ImageShape;
using tests::ScratchDirectory;

constexpr ImageShape kShape{1, 3, 4};

std::map<std::string, std::string> part(int shard, int shards, const std::string& split = "train") {
  return {{"split", split}, {"shard", std::to_string(shard)}, {"shards", std::to_string(shards)}, {"seed", "0"}};
}

TEST(Dataset, IsItsShardsInTheOrderOfTheirNames) {
  const ScratchDirectory folder;
  tests::write_shard(folder / "b.hdf5", kShape, 7, 5);
  tests::write_shard(folder / "a.h5", kShape, 5, 0);
  tests::write_shard(folder / "c.h5", kShape, 1, 12);
  tests::write_bytes(folder / "notes.txt", "not a shard");
  const Dataset dataset = Dataset::open(folder.path());
  ASSERT_EQ(dataset.size(), 13);
  EXPECT_EQ(dataset.image_shape(), kShape);
  EXPECT_EQ(dataset.num_classes(), 10);
  std::vector<uint8_t> pixels(12);
  for (int64_t i = 0; i < 13; ++i) {
    dataset.read(i, pixels);
    EXPECT_EQ(pixels, tests::pixels_of(i, kShape));
    EXPECT_EQ(dataset.label(i), tests::label_of(i));
  }
}

TEST(Dataset, GathersImagesInAnyOrder) {
  const ScratchDirectory folder;
  tests::write_shard(folder / "a.h5", kShape, 5, 0);
  tests::write_shard(folder / "b.h5", kShape, 5, 5);
  const Dataset dataset = Dataset::open(folder.path());
  const std::vector<int64_t> indices{9, 0, 4, 5, 0};
  std::vector<uint8_t> pixels(5 * 12), expected;
  dataset.read(indices, pixels);
  for (const int64_t i : indices)
    for (const uint8_t byte : tests::pixels_of(i, kShape)) expected.push_back(byte);
  EXPECT_EQ(pixels, expected);
  tests::expect_refusal([&] { dataset.read(10, std::span(pixels).first(12)); }, {"10 images", "image 10"});
}

TEST(Dataset, RefusesShardsOfDifferentImageSizesNamingBoth) {
  const ScratchDirectory folder;
  tests::write_shard(folder / "a.h5", {3, 8, 8}, 5);
  tests::write_shard(folder / "b.h5", {3, 16, 16}, 5);
  tests::expect_refusal([&] { Dataset::open(folder.path()); }, {"a.h5", "3x8x8", "b.h5", "3x16x16"});
}

TEST(Dataset, RefusesAFolderFromWhichAShardIsMissing) {
  const ScratchDirectory folder;
  tests::write_shard(folder / "train-0.h5", kShape, 5, 0, part(0, 3));
  tests::write_shard(folder / "train-2.h5", kShape, 5, 0, part(2, 3));
  tests::expect_refusal([&] { Dataset::open(folder.path()); }, {"2 of 3 shards", folder.path().string()});
  EXPECT_EQ(Dataset::open(folder / "train-0.h5").size(), 5);  // one file is what was asked for
}

TEST(Dataset, RefusesAMixtureOfSplits) {
  const ScratchDirectory folder;
  tests::write_shard(folder / "train-0.h5", kShape, 5, 0, part(0, 1));
  tests::write_shard(folder / "val-0.h5", kShape, 5, 0, part(0, 1, "val"));
  tests::expect_refusal([&] { Dataset::open(folder.path()); }, {"split", "train-0.h5", "val-0.h5"});
}

TEST(Dataset, RefusesAShardThatIsThereTwiceAndShardsOfOtherLabelMapsOrResizes) {
  const ScratchDirectory folder;
  tests::write_shard(folder / "train-0.h5", kShape, 5, 0, part(0, 2));
  tests::write_shard(folder / "train-1.h5", kShape, 5, 0, part(0, 2));
  tests::expect_refusal([&] { Dataset::open(folder.path()); }, {"shard 0 is there twice", "train-0.h5", "train-1.h5"});
  for (const std::string name : {"label_map", "resize", "source"}) {
    auto others = part(1, 2);
    others[name] = "other";
    tests::write_shard(folder / "train-1.h5", kShape, 5, 0, others);
    tests::expect_refusal([&] { Dataset::open(folder.path()); },
                          {name.c_str(), "'other' in " + (folder / "train-1.h5").string(), "different packings"});
  }
}

TEST(Dataset, RefusesFilesOfSeveralSplitsByTheirNamesWhoeverWroteThem) {
  const ScratchDirectory folder;
  tests::write_shard(folder / "ILSVRC128.h5", kShape, 5);
  tests::write_shard(folder / "ILSVRC128_val.h5", kShape, 5);
  tests::expect_refusal([&] { Dataset::open(folder.path()); },
                        {"several splits", "ILSVRC128.h5 and ILSVRC128_val.h5", "a folder for each"});
  EXPECT_EQ(Dataset::open(folder / "ILSVRC128_val.h5").size(), 5);
}

TEST(Dataset, NamesTheFolderOfASplitThatIsMeant) {
  const ScratchDirectory folder;
  std::filesystem::create_directories(folder / "data/train");
  tests::write_shard(folder / "data/train/train-0.h5", kShape, 5);
  tests::expect_refusal([&] { Dataset::open(folder / "data"); }, {"no shards", (folder / "data/train").string()});
}

TEST(Dataset, RefusesAnEmptyFolderAndAMissingOne) {
  const ScratchDirectory folder;
  tests::expect_refusal([&] { Dataset::open(folder.path()); }, {folder.path().string(), "no shards"});
  tests::expect_refusal([&] { Dataset::open(folder / "none"); }, {"none", "no such file or folder"});
}

TEST(Dataset, HasAFingerprintThatFollowsPixelsLabelsAndOrderButNotThePlace) {
  const ScratchDirectory folder;
  for (const char* name : {"one", "moved", "pixels", "labels", "order"})
    std::filesystem::create_directory(folder / name);
  tests::write_shard(folder / "one/a.h5", kShape, 5, 0);
  tests::write_shard(folder / "moved/x.h5", kShape, 5, 0, {{"source", "elsewhere"}});
  tests::write_shard(folder / "pixels/a.h5", kShape, 5, 10);  // the same labels
  {
    data::ShardWriter writer(folder / "labels/a.h5", kShape, 5, {});
    for (int64_t i = 0; i < 5; ++i) writer.append(tests::pixels_of(i, kShape), i == 4 ? 7 : i);
    writer.finish();
  }
  {
    data::ShardWriter writer(folder / "order/a.h5", kShape, 5, {});
    for (int64_t i = 4; i >= 0; --i) writer.append(tests::pixels_of(i, kShape), i);
    writer.finish();
  }
  const auto fingerprint = [&](const char* name) { return Dataset::open(folder / name).fingerprint().files; };
  EXPECT_EQ(fingerprint("one").size(), 32);
  EXPECT_EQ(fingerprint("one"), fingerprint("moved"));
  EXPECT_NE(fingerprint("one"), fingerprint("pixels"));
  EXPECT_NE(fingerprint("one"), fingerprint("labels"));
  EXPECT_NE(fingerprint("one"), fingerprint("order"));
}

TEST(Dataset, FindsADamagedBlockOfAnyShardWhenItIsAskedToVerify) {
  const ScratchDirectory folder;
  tests::write_shard(folder / "a.h5", kShape, 1025, 0);
  tests::write_shard(folder / "b.h5", kShape, 10, 0);
  EXPECT_EQ(Dataset::open(folder.path(), {.verify = true}).size(), 1035);
  std::string bytes = tests::bytes_of(folder / "b.h5");
  const std::vector<uint8_t> pixels = tests::pixels_of(3, kShape);
  bytes[bytes.find(std::string(pixels.begin(), pixels.end())) + 2] ^= 4;
  tests::write_bytes(folder / "b.h5", bytes);
  EXPECT_EQ(Dataset::open(folder.path()).size(), 1035);
  tests::expect_refusal([&] { Dataset::open(folder.path(), {.verify = true}); }, {"b.h5 is damaged", "images 0 to 9"});
}

}  // namespace
}  // namespace cfm
