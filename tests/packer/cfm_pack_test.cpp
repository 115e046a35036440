// The program itself: what it prints and its exit codes.

#include <gtest/gtest.h>

#include "data/image_file.h"
#include "support/data_support.h"
#include "support/packed_images.h"

namespace cfm {
namespace {

using tests::ProgramResult;
using tests::ScratchDirectory;

ProgramResult cfm_pack(const std::string& arguments) {
  return tests::run_program(CFM_BIN_DIR "/cfm_pack " + arguments);
}

void expect_words(const ProgramResult& result, int exit_code, const std::vector<std::string>& words) {
  EXPECT_EQ(result.exit_code, exit_code) << result.output;
  for (const std::string& word : words)
    EXPECT_NE(result.output.find(word), std::string::npos) << word << " not in:\n" << result.output;
}

TEST(CfmPack, PacksAndSaysWhatItWrote) {
  const ScratchDirectory folder;
  tests::write_images_npz(folder / "a.npz", 1500, {3, 4, 4});
  const ProgramResult result =
      cfm_pack("--source=" + (folder / "a.npz").string() + " --out=" + (folder / "out").string() + " --shards=2");
  const std::string fingerprint = data::Dataset::open(folder / "out/train").fingerprint().files;
  expect_words(result, 0, {"1,500 images of 3x4x4, 10 classes", "out/train: 2 shards", fingerprint});
}

TEST(CfmPack, InspectsShardsFoldersAndArraysAndGoesOnAfterABadOne) {
  const ScratchDirectory folder;
  tests::write_images_npz(folder / "a.npz", 1500, {3, 4, 4});
  cfm_pack("--source=" + (folder / "a.npz").string() + " --out=" + (folder / "out").string() + " --shards=2");
  folder.write("text.h5", "hello");
  const std::string in = folder.path().string();
  const std::string fingerprint = data::Dataset::open(folder / "out/train").fingerprint().files;
  expect_words(cfm_pack("--inspect " + in + "/out/train " + in + "/out/train/train-00001-of-00002.h5 " + in + "/a.npz"),
               0,
               {"images        1,500", "images        750", "3x4x4", "10, of 150 to 150 images", "all 2 match",
                "all 1 match", fingerprint, "uint8 (1500,3,4,4)"});
  expect_words(cfm_pack("--inspect " + in + "/text.h5 " + in + "/a.npz"), 2,
               {"text.h5 is not an HDF5 file", "uint8 (1500,3,4,4)"});
  expect_words(cfm_pack("--inspect"), 2, {"no files given"});
}

TEST(CfmPack, InspectsWhatCanBePackedAndGivesItsImagesTheFingerprintThatTheyHaveWhenPacked) {
  const ScratchDirectory folder;
  const std::string in = folder.path().string();
  tests::write_images_npz(folder / "a.npz", 30, {3, 4, 4});
  cfm_pack("--source=" + in + "/a.npz --out=" + in + "/out --shards=2");
  const std::string images = data::Dataset::open(folder / "out/train").fingerprint().images;
  expect_words(
      cfm_pack("--inspect " + in + "/a.npz"), 0,
      {"uint8 (30,3,4,4)", "10, of 3 to 3 images", images, "pack it once: cfm_pack --source=" + in + "/a.npz"});

  std::string record(3073, 'x');  // CIFAR-10's: a label, then a planar image
  record[0] = 7;
  folder.write("data_batch_1.bin", record + record);
  expect_words(cfm_pack("--inspect " + in + "/data_batch_1.bin"), 0,
               {"images        2", "3x32x32", "8, of 0 to 2 images", "fingerprint"});

  std::filesystem::create_directories(folder / "tree/a");
  for (const char* name : {"tree/a/1.png", "tree/a/2.png"})
    data::write_png(folder / name, {{3, 5, 4}, tests::pixels_of(1, {3, 5, 4})});
  tests::run_program("tar -C " + in + "/tree -cf " + in + "/tree.tar .");
  for (const char* name : {"/tree", "/tree.tar"})
    expect_words(cfm_pack("--inspect " + in + name), 0,
                 {"images        2", "3x5x4", "1, of 2 to 2 images", "cfm_train reads HDF5 only", "--resize=adm"});
}

TEST(CfmPack, FindsADamagedShardByInspection) {
  const ScratchDirectory folder;
  tests::write_images_npz(folder / "a.npz", 100, {3, 4, 4});
  cfm_pack("--source=" + (folder / "a.npz").string() + " --out=" + (folder / "out").string());
  const std::filesystem::path shard = folder / "out/train/train-00000-of-00001.h5";
  std::string bytes = tests::bytes_of(shard);
  const std::vector<uint8_t> pixels = tests::pixels_of(33, {3, 4, 4});
  bytes[bytes.find(std::string(pixels.begin(), pixels.end())) + 5] ^= 1;
  tests::write_bytes(shard, bytes);
  expect_words(cfm_pack("--inspect " + shard.string()), 2, {shard.string(), "damaged", "images 0 to 99"});
}

TEST(CfmPack, NamesUnreadableImagesAndExitsWithTwoUnlessTheyAreAllowed) {
  const ScratchDirectory folder;
  for (int i = 0; i < 5; ++i) {
    std::filesystem::create_directories(folder / "in");
    data::write_png(folder / ("in/" + std::to_string(i) + ".png"), {{1, 4, 4}, tests::pixels_of(i, {1, 4, 4})});
  }
  folder.write("in/3.png", "hello");
  const std::string arguments = "--source=" + (folder / "in").string() + " --out=" + (folder / "out").string();
  expect_words(cfm_pack(arguments), 2, {"in/3.png is neither", "1 image cannot be read"});
  EXPECT_FALSE(std::filesystem::exists(folder / "out/train"));
  expect_words(cfm_pack(arguments + " --allow_unreadable"), 0,
               {"in/3.png is neither", "1 unreadable image was left out:\n  " + (folder / "in/3.png").string(),
                "packed       4 images"});
}

TEST(CfmPack, RefusesBadCommandLinesWithExitCodeTwo) {
  expect_words(cfm_pack(""), 2, {"--source is missing", "--out is missing"});
  expect_words(cfm_pack("--source=/tmp --out=/tmp/x --shard=3"), 2, {"no flag --shard", "--shards"});
  expect_words(cfm_pack("--source=/tmp --out=/tmp/x --channels=2"), 2, {"--channels=2"});
  expect_words(cfm_pack("--source=/nonexistent --out=/tmp/x"), 2, {"/nonexistent"});
}

TEST(CfmPack, ExplainsItself) {
  expect_words(cfm_pack("--help"), 0, {"--grey_levels", "--inspect", "example: mpirun -n 8 cfm_pack --source="});
}

}  // namespace
}  // namespace cfm
