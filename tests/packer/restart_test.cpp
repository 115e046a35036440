// Packing over several ranks and several starts: the bytes are those of one rank that was never stopped.

#include <gtest/gtest.h>

#include "data/image_file.h"
#include "support/data_support.h"
#include "support/file_bytes.h"
#include "support/packed_images.h"
#include "support/packing.h"

namespace cfm {
namespace {

using std::filesystem::path;
using test::CommandResult;
using tests::expect_words;
using tests::run_pack;
using tests::ScratchDirectory;
using tests::shards_of;

constexpr data::ImageShape kShape{3, 4, 6};

std::string shard_name(int shard, int shards) {
  char name[40];
  std::snprintf(name, sizeof name, "train-%05d-of-%05d.h5", shard, shards);
  return name;
}

int64_t count_shards(const path& folder) {
  std::error_code error;
  int64_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error))
    if (entry.path().extension() == ".h5") ++count;
  return count;
}

size_t times(const std::string& text, const std::string& part) {
  size_t n = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
  return n;
}

// A folder of 24 PNGs, some of which are none.
void write_images(const ScratchDirectory& folder, const std::vector<int>& unreadable = {}) {
  std::filesystem::create_directories(folder / "in");
  for (int i = 10; i < 34; ++i)
    data::write_png(folder / ("in/" + std::to_string(i) + ".png"), {kShape, tests::pixels_of(i, kShape)});
  for (const int i : unreadable) folder.write("in/" + std::to_string(i) + ".png", "hello");
}

std::string arguments_for(const ScratchDirectory& folder, const std::string& out = "out", int shards = 4) {
  return "--source=" + (folder / "in").string() + " --out=" + (folder / out).string() +
         " --shards=" + std::to_string(shards) + " ";
}

// As a job leaves it that was killed when these of its shards were not finished yet.
void undo(const ScratchDirectory& folder, const std::vector<int>& missing, int shards = 4) {
  std::filesystem::rename(folder / "out/train", folder / "out/train.partial");
  for (const int shard : missing) {
    const path file = folder / ("out/train.partial/" + shard_name(shard, shards));
    tests::write_bytes(file.string() + ".tmp", tests::bytes_of(file).substr(0, 1000));
    std::filesystem::remove(file);
  }
}

TEST(PackProgram, MakesTheSameBytesOnOneTwoAndThreeRanks) {
  const ScratchDirectory folder;
  write_images(folder, {13, 20, 21});
  for (const auto& [out, ranks, threads] :
       {std::tuple{"a", 0, 1}, {"b", 1, 3}, {"c", 2, 2}, {"d", 3, 1}, {"e", 4, 0}}) {
    const CommandResult result =
        run_pack(arguments_for(folder, out, 3) + "--allow_unreadable --threads=" + std::to_string(threads), ranks);
    expect_words(result, 0, {"packed       21 images", "3 unreadable images were left out", "in/13.png", "in/21.png"});
    EXPECT_EQ(times(result.output, "packed "), 1U) << result.output;
    EXPECT_EQ(result.output.find("1 of 4 ranks have nothing to do") != std::string::npos, ranks == 4);
    EXPECT_TRUE(shards_of(folder / (std::string(out) + "/train")) == shards_of(folder / "a/train")) << out;
  }
}

TEST(PackProgram, ContinuesAfterKillNineWithTheFinishedShards) {
  const ScratchDirectory folder;
  constexpr data::ImageShape large{3, 64, 64};
  constexpr int kShards = 400;
  tests::write_images_npz(folder / "in", 4000, large);
  std::filesystem::rename(folder / "in", folder / "in.npz");
  const std::string source = "--threads=1 --shards=400 --source=" + (folder / "in.npz").string() + " --out=";
  expect_words(run_pack(source + (folder / "whole").string()), 0, {"4,000 images"});

  const path partial = folder / "out/train.partial";
  const std::string command = source + (folder / "out").string();
  int64_t finished = 0;
  for (int kill = 0; kill < 2; ++kill) {
    tests::RunningPack first(tests::pack_command(command, 2), (folder / "out").string());
    ASSERT_TRUE(tests::wait_until([&] { return count_shards(partial) > finished + 2; }));
    first.signal(SIGKILL);
    EXPECT_EQ(first.wait().exit_code, 137);
    finished = count_shards(partial);
    ASSERT_LT(finished, kShards) << "nothing was left to do";
  }
  const auto first_written = std::filesystem::last_write_time(partial / shard_name(0, kShards));
  expect_words(run_pack(command, 3), 0,
               {"kept         " + std::to_string(finished) + " of 400 shards", "4,000 images"});
  EXPECT_TRUE(shards_of(folder / "out/train") == shards_of(folder / "whole/train"));
  EXPECT_EQ(std::filesystem::last_write_time(folder / ("out/train/" + shard_name(0, kShards))), first_written);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder / "out"), {}), 1);
}

TEST(PackProgram, RefusesToContinueWithOtherSettingsNamingTheFirst) {
  const ScratchDirectory folder;
  write_images(folder);
  expect_words(run_pack(arguments_for(folder)), 0, {});
  undo(folder, {1});
  const std::string before = shards_of(folder / "out/train.partial");
  for (const auto& [arguments, words] : {std::pair{"--seed=7 --count=20", "images is 24 there, 20 here"},
                                         {"--seed=7", "seed is 0 there, 7 here"},
                                         {"--shards=5", "--shards"},
                                         {"--grey_levels=256", "grey_levels is 0 there, 256 here"}}) {
    std::string command = arguments_for(folder) + arguments;
    if (std::string(arguments) == "--shards=5") command = arguments_for(folder, "out", 5);
    const CommandResult result = run_pack(command, 2);
    expect_words(result, 2,
                 {std::string(words) == "--shards" ? "shards is 4 there, 5 here" : words,
                  (folder / "out/train.partial").string() + " holds 3 finished shards of another packing",
                  "--overwrite", "--out"});
    EXPECT_EQ(times(result.output, "cfm: error:"), 1U) << result.output;
  }
  EXPECT_TRUE(shards_of(folder / "out/train.partial") == before);
  std::filesystem::rename(folder / "in/12.png", folder / "in/12b.png");
  expect_words(run_pack(arguments_for(folder)), 2, {"names_and_labels_xxh3 is "});
  std::filesystem::copy(folder / "in/13.png", folder / "in/14b.png");
  expect_words(run_pack(arguments_for(folder)), 2, {"source_images is 24 there, 25 here"});
  expect_words(run_pack(arguments_for(folder) + "--overwrite", 2), 0, {"packed       25 images"});
  EXPECT_FALSE(std::filesystem::exists(folder / "out/train.partial"));
}

TEST(PackProgram, EndsAllRanksWithOneMessageWhenOneMeetsAnImageThatDoesNotFit) {
  const ScratchDirectory folder;
  write_images(folder);
  data::write_png(folder / "in/20.png", {{3, 9, 9}, tests::pixels_of(0, {3, 9, 9})});
  for (const int ranks : {1, 2, 3}) {
    const CommandResult result = run_pack(arguments_for(folder), ranks);
    expect_words(result, 2, {"in/20.png has 9x9 pixels", "Give --resize=box"});
    EXPECT_EQ(times(result.output, "in/20.png"), 1U) << result.output;
    EXPECT_EQ(result.output.find("MPI_ABORT"), std::string::npos) << result.output;
  }
}

TEST(PackProgram, RefusesToReplaceWhatItReads) {
  const ScratchDirectory folder;
  write_images(folder);
  expect_words(run_pack(arguments_for(folder)), 0, {});
  const std::string before = shards_of(folder / "out/train");
  const std::string out = " --overwrite --out=" + (folder / "out").string();
  for (const std::string& source : {std::string("out/train"), "out/./train/" + shard_name(0, 4)})
    expect_words(run_pack("--source=" + (folder / source).string() + out), 2,
                 {"lies in", "out/train", "would replace"});
  EXPECT_TRUE(shards_of(folder / "out/train") == before);
}

TEST(PackProgram, RefusesALoopOfLinksForGood) {
  const ScratchDirectory folder;
  write_images(folder);
  std::filesystem::create_directories(folder / "tree/a");
  std::filesystem::rename(folder / "in", folder / "tree/a/in");
  std::filesystem::create_directory_symlink(".", folder / "tree/a/in/loop");
  expect_words(run_pack("--source=" + (folder / "tree").string() + " --out=" + (folder / "out").string()), 2,
               {"--source=", "Too many levels of symbolic links", "loop"});
}

TEST(PackProgram, RefusesAnOutThatCannotBeMadeNamingIt) {
  const ScratchDirectory folder;
  write_images(folder);
  folder.write("file", "");
  const CommandResult result = run_pack(arguments_for(folder, "file/out"), 2);
  expect_words(result, 2, {"--out=" + (folder / "file/out").string(), "cannot make the folder", "Not a directory"});
  EXPECT_EQ(result.output.find("MPI_ABORT"), std::string::npos) << result.output;
}

TEST(PackProgram, BeginsAnewWhereNothingOfAnotherPackingIsFinished) {
  const ScratchDirectory folder;
  write_images(folder);
  data::write_png(folder / "in/20.png", {{3, 9, 9}, tests::pixels_of(0, {3, 9, 9})});
  expect_words(run_pack(arguments_for(folder, "out", 1)), 2, {"in/20.png has 9x9 pixels"});
  write_images(folder);
  expect_words(run_pack(arguments_for(folder, "out", 2)), 0, {"packed       24 images"});
}

TEST(PackProgram, OverwritesWhatIsFinishedOnlyWhenTheNewIsWhole) {
  const ScratchDirectory folder;
  write_images(folder);
  expect_words(run_pack(arguments_for(folder)), 0, {});
  const std::string before = shards_of(folder / "out/train");
  expect_words(run_pack(arguments_for(folder)), 2, {"out/train exists", "--overwrite"});
  folder.write("in/20.png", "hello");
  expect_words(run_pack(arguments_for(folder) + "--overwrite --seed=1"), 2, {"1 image cannot be read"});
  EXPECT_TRUE(shards_of(folder / "out/train") == before);
  write_images(folder);
  expect_words(run_pack(arguments_for(folder) + "--overwrite --seed=1"), 0, {"kept         3 of 4 shards"});
  EXPECT_FALSE(shards_of(folder / "out/train") == before);
}

TEST(PackProgram, PacksDamagedShardsAgain) {
  const ScratchDirectory folder;
  write_images(folder);
  expect_words(run_pack(arguments_for(folder)), 0, {});
  const std::string whole = shards_of(folder / "out/train");
  undo(folder, {});
  const path partial = folder / "out/train.partial";
  std::filesystem::resize_file(partial / shard_name(0, 4), 3000);                // truncated
  std::filesystem::copy(partial / shard_name(2, 4), partial / shard_name(1, 4),  // another
                        std::filesystem::copy_options::overwrite_existing);
  const CommandResult result = run_pack(arguments_for(folder), 2);
  expect_words(result, 0,
               {"kept         2 of 4 shards", "shard is packed again", shard_name(0, 4), "attribute `shard` is '2'"});
  EXPECT_TRUE(shards_of(folder / "out/train") == whole);

  // One pixel: found when all is read back, and repaired by the next start.
  undo(folder, {0});
  const path damaged = partial / shard_name(3, 4);
  const std::string bytes = tests::bytes_of(damaged);
  const data::Shard shard(damaged);
  std::vector<uint8_t> pixels(static_cast<size_t>(kShape.bytes()));
  shard.read(1, pixels);
  test::flip_bit(damaged, bytes.find(std::string(pixels.begin(), pixels.end())) + 7);
  expect_words(run_pack(arguments_for(folder), 2), 1,
               {shard_name(3, 4), "is damaged", "the same command packs it again"});
  EXPECT_FALSE(std::filesystem::exists(folder / "out/train"));
  expect_words(run_pack(arguments_for(folder), 2), 0, {"kept         3 of 4 shards"});
  EXPECT_TRUE(shards_of(folder / "out/train") == whole);
}

TEST(PackProgram, PacksAllItCanBesideUnreadableImagesAndFinishesWithLeave) {
  for (const int ranks : {0, 2, 3}) {
    const ScratchDirectory folder;
    write_images(folder, {13, 14, 30});
    const CommandResult refused = run_pack(arguments_for(folder, "out", 8), ranks);
    expect_words(refused, 2,
                 {"3 images cannot be read:\n", "in/13.png is neither", "\n  " + (folder / "in/30.png").string(),
                  "--allow_unreadable", "out/train.partial"});
    EXPECT_EQ(times(refused.output, "cfm: error:"), 1U) << refused.output;
    EXPECT_FALSE(std::filesystem::exists(folder / "out/train"));
    const int64_t kept = count_shards(folder / "out/train.partial");
    EXPECT_GE(kept, 5);
    EXPECT_LT(kept, 8);
    const CommandResult finished = run_pack(arguments_for(folder, "out", 8) + "--allow_unreadable", ranks);
    expect_words(finished, 0,
                 {"kept         " + std::to_string(kept) + " of 8 shards", "packed       21 images",
                  "3 unreadable images were left out:\n", "\n  " + (folder / "in/14.png").string()});
    expect_words(run_pack(arguments_for(folder, "fresh", 8) + "--allow_unreadable"), 0, {});
    EXPECT_TRUE(shards_of(folder / "out/train") == shards_of(folder / "fresh/train"));
  }
}

TEST(PackProgram, RemembersWhatWasLeftOutAndLooksAgainWithoutLeave) {
  const ScratchDirectory folder;
  write_images(folder, {13});
  expect_words(run_pack(arguments_for(folder) + "--allow_unreadable"), 0, {"1 unreadable image was left out"});
  int with_loss = -1;
  for (int i = 0; i < 4; ++i) {
    const std::string names = data::Shard(folder / ("out/train/" + shard_name(i, 4))).attribute("unreadable");
    if (names.empty()) continue;
    EXPECT_EQ(names, "[\"" + (folder / "in/13.png").string() + "\"]");
    with_loss = i;
  }
  ASSERT_GE(with_loss, 0);
  undo(folder, {(with_loss + 1) % 4});
  expect_words(run_pack(arguments_for(folder) + "--allow_unreadable", 2), 0,
               {"kept         3 of 4", "1 unreadable image was left out:\n  " + (folder / "in/13.png").string()});
  undo(folder, {});
  expect_words(run_pack(arguments_for(folder)), 2, {"kept         3 of 4", "1 image cannot be read"});
  write_images(folder);
  expect_words(run_pack(arguments_for(folder), 2), 0, {"kept         3 of 4", "packed       24 images"});
}

TEST(PackProgram, RefusesAPlaceWhereAnotherIsAtWork) {
  const ScratchDirectory folder;
  constexpr data::ImageShape large{3, 64, 64};
  tests::write_images_npz(folder / "a.npz", 4000, large);
  const std::string command =
      "--threads=1 --shards=400 --source=" + (folder / "a.npz").string() + " --out=" + (folder / "out").string();
  for (const int ranks : {0, 2}) {
    tests::RunningPack first(tests::pack_command(command, ranks), (folder / "out").string());
    ASSERT_TRUE(tests::wait_until([&] { return count_shards(folder / "out/train.partial") > 1; }));
    first.signal(SIGSTOP);
    for (const char* further : {"", " --overwrite --seed=3"})
      expect_words(run_pack(command + further, ranks), 1, {"another cfm_pack is at work there", "out/train.partial"});
    first.signal(SIGCONT);
    EXPECT_EQ(first.wait().exit_code, 0);
    EXPECT_FALSE(std::filesystem::exists(folder / "out/train/packing.lock"));
    std::filesystem::remove_all(folder / "out");
  }
}

TEST(PackProgram, EndsOnAllRanksWithTheMessageAndCodeOfTheOneThatFails) {
  const ScratchDirectory folder;
  write_images(folder);
  data::write_png(folder / "in/20.png", {{3, 9, 9}, tests::pixels_of(0, {3, 9, 9})});
  const CommandResult result = run_pack(arguments_for(folder), 3);
  expect_words(result, 2, {"on host", "in/20.png has 9x9 pixels", "6x4 pixels"});
  EXPECT_EQ(times(result.output, "in/20.png has"), 1U) << result.output;
  EXPECT_LT(result.seconds, 20);
}

TEST(PackProgram, SaysFaultsOfAllRanksOnce) {
  for (const std::string arguments :
       {"", "--source=/nonexistent --out=/tmp/x", "--source=/tmp --out=/tmp/x --shard=3"}) {
    const CommandResult result = run_pack(arguments, 3);
    EXPECT_EQ(result.exit_code, 2) << result.output;
    EXPECT_EQ(times(result.output, "cfm: error:"), 1U) << result.output;
  }
  const CommandResult help = run_pack("--help", 2);
  EXPECT_EQ(help.exit_code, 0);
  EXPECT_EQ(times(help.output, "example: "), 1U) << help.output;
}

}  // namespace
}  // namespace cfm
