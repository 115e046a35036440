// A disk that fills up: a small file system in memory, mounted in a namespace of its own.

#include <gtest/gtest.h>

#include "support/packed_images.h"
#include "support/packing.h"

namespace cfm {
namespace {

TEST(PackProgram, ContinuesAfterAFullDisk) {
  const tests::ScratchDirectory folder;
  constexpr data::ImageShape shape{3, 32, 32};
  tests::write_images_npz(folder / "a.npz", 1000, shape);  // 3 MB
  std::filesystem::create_directories(folder / "disk");
  const std::string disk = (folder / "disk").string();
  const std::string pack = CFM_BIN_DIR "/cfm_pack --shards=3 --threads=1 --source=" + (folder / "a.npz").string();
  const test::CommandResult result = test::run_command(
      "unshare -rm bash -c \"mount -t tmpfs -o size=1500k tmpfs " + disk + "; " + pack + " --out=" + disk +
      "; echo ended with \\$?; ls " + disk + "/train.partial; mount -o remount,size=20m " + disk + "; " + pack +
      " --out=" + disk + "; echo ended with \\$?; cp -r " + disk + "/train " + folder.path().string() + "\"");
  const std::string& output = result.output;
  const size_t first = output.find("ended with 1\n"), second = output.find("ended with 0\n");
  ASSERT_NE(first, std::string::npos) << output;
  ASSERT_NE(second, std::string::npos) << output;
  tests::expect_words(result, 0,
                      {"No space left on device", "train.partial/train-00001-of-00003.h5.tmp",
                       "packing.json\npacking.lock\ntrain-00000-of-00003.h5\n"});
  EXPECT_LT(output.find("No space left"), first) << output;
  EXPECT_GT(output.find("kept         1 of 3 shards"), first) << output;
  tests::expect_words(test::run_command(pack + " --out=" + (folder / "whole").string()), 0, {});
  EXPECT_TRUE(tests::shards_of(folder / "train") == tests::shards_of(folder / "whole/train"));
}

}  // namespace
}  // namespace cfm
