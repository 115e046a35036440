// cfm_checkpoint verify.

#include <gtest/gtest.h>

#include "base/hash.h"
#include "keeper/checksums.h"
#include "support/checkpoint_program.h"
#include "support/error_text.h"
#include "support/file_bytes.h"
#include "support/scratch_directory.h"
#include "support/tiny_weights.h"

namespace cfm::keeper {
namespace {

namespace fs = std::filesystem;
using test::CommandResult;
using test::has;

class Verify : public testing::Test {
 protected:
  void SetUp() override {
    test::write_tiny_checkpoint(run_, 800, 0, {0.9});
    test::write_tiny_checkpoint(run_, 1200, 0, {0.9});
  }
  static CommandResult verify(const std::string& arguments) { return test::cfm_checkpoint("verify " + arguments); }
  std::string file(const std::string& name) const { return (run_ / "checkpoints" / name).string(); }

  tests::ScratchDirectory scratch_;
  fs::path run_ = scratch_.path() / "run";
};

TEST_F(Verify, SaysEachFileOfEachCheckpointAndEndsIn0WhereAllIsWhole) {
  const CommandResult result = verify("--run_dir=" + run_.string());
  EXPECT_EQ(result.exit_code, 0) << result.output;
  EXPECT_TRUE(has(result.output, {file("step_000000800").c_str(), file("step_000001200").c_str(),
                                  "whole    manifest.json  of step 1,200", "whole    model.safetensors",
                                  "whole    ema_0.9.safetensors", "1 block", "6 files"}));
  EXPECT_EQ(result.output.find("DAMAGED"), std::string::npos);
}

TEST_F(Verify, NamesTheDamagedFileItsBlockAndBothHashesAndGoesOn) {
  const std::string damaged = file("step_000000800/ema_0.9.safetensors");
  const std::string before = test::bytes_of(damaged);
  test::flip_bit(damaged, before.size() - 1, 7);
  const std::string after = test::bytes_of(damaged);
  const CommandResult result = verify("--run_dir=" + run_.string());
  EXPECT_EQ(result.exit_code, 2) << result.output;
  EXPECT_TRUE(has(result.output,
                  {"DAMAGED  ema_0.9.safetensors", damaged.c_str(), xxh3_128_hex(before.data(), before.size()).c_str(),
                   xxh3_128_hex(after.data(), after.size()).c_str(), "bytes 0 to", file("step_000001200").c_str(),
                   "1 of 6 files"}));
  EXPECT_EQ(verify("--run_dir=" + run_.string() + " --step=1200").exit_code, 0);
  EXPECT_EQ(verify("--run_dir=" + run_.string() + " --step=800").exit_code, 2);
}

// A link to itself: the system does not read it, and says nothing of what is there.
TEST_F(Verify, WhatCannotBeReadForNowIsNotCalledDamagedAndEndsIn1) {
  for (const std::string name : {"step_000000800/ema_0.9.safetensors", "step_000001200/manifest.json"}) {
    fs::rename(file(name), run_ / "aside");
    fs::create_symlink(file(name), file(name));
    const CommandResult result = verify("--run_dir=" + run_.string() + (name.ends_with("json") ? " --step=1200" : ""));
    EXPECT_EQ(result.exit_code, 1) << result.output;
    EXPECT_TRUE(has(result.output, {file(name).c_str(), "symbolic links"}));
    EXPECT_EQ(result.output.find("DAMAGED"), std::string::npos) << result.output;
    fs::rename(run_ / "aside", file(name));
  }
  EXPECT_EQ(verify("--run_dir=" + run_.string()).exit_code, 0);
}

TEST_F(Verify, FindsADamagedManifestARenamedFolderAndAMissingFile) {
  test::flip_bit(file("step_000000800/manifest.json"), 50);
  EXPECT_TRUE(has(verify(file("step_000000800")).output, {"DAMAGED  manifest.json"}));
  fs::rename(file("step_000001200"), file("step_000001300"));
  const CommandResult renamed = verify("--run_dir=" + run_.string() + " --step=1300");
  EXPECT_EQ(renamed.exit_code, 2);
  EXPECT_TRUE(has(renamed.output, {"of step 1200", "renamed"}));
  fs::remove(file("step_000001300/model.safetensors"));
  const CommandResult missing = verify(file("step_000001300"));
  EXPECT_EQ(missing.exit_code, 2);
  EXPECT_TRUE(has(missing.output, {"DAMAGED  model.safetensors", "No such file", "whole    ema_0.9.safetensors"}));
}

TEST_F(Verify, SaysWhatNoManifestRecordsAndWhatIsNeverLoaded) {
  test::put_bytes(file("step_000000800/notes.txt"), "x");
  fs::create_directories(file("step_000000700.damaged"));
  const CommandResult result = verify(run_.string());
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_TRUE(has(result.output, {"unknown  notes.txt", "step_000000700.damaged", "skipped", "set aside"}));
}

TEST_F(Verify, TakesAWeightsFileByTheManifestBesideIt) {
  const std::string weights = file("step_000000800/model.safetensors");
  const CommandResult whole = verify(weights);
  EXPECT_EQ(whole.exit_code, 0) << whole.output;
  EXPECT_TRUE(has(whole.output, {"whole    model.safetensors", "1 block"}));
  EXPECT_EQ(whole.output.find("ema_0.9"), std::string::npos);
  test::flip_bit(weights, 3000);
  EXPECT_EQ(verify(weights).exit_code, 2);
}

TEST_F(Verify, ShowsThatAWeightsFileAloneCanBeReadAndSaysThatThisIsAll) {
  const fs::path alone = scratch_.path() / "alone.safetensors";
  fs::copy_file(file("step_000000800/model.safetensors"), alone);
  const CommandResult whole = verify(alone.string());
  EXPECT_EQ(whole.exit_code, 0) << whole.output;
  const std::string bytes = test::bytes_of(alone);
  EXPECT_TRUE(
      has(whole.output, {"raw of step 800", xxh3_128_hex(bytes.data(), bytes.size()).c_str(), "Nothing beside it"}));
  fs::resize_file(alone, bytes.size() - 1);
  const CommandResult cut = verify(alone.string());
  EXPECT_EQ(cut.exit_code, 2);
  EXPECT_TRUE(has(cut.output, {"DAMAGED", "alone.safetensors"}));
  // All exponent bits of the last number: no number any more.
  std::string bad = bytes;
  bad[bad.size() - 1] = '\x7f';
  bad[bad.size() - 2] = '\xc0';
  test::put_bytes(alone, bad);
  EXPECT_TRUE(has(verify(alone.string()).output, {"DAMAGED", "not finite"}));
}

TEST_F(Verify, RefusesPathsThatAreNothingToVerify) {
  const CommandResult nothing = verify("/nowhere");
  EXPECT_EQ(nothing.exit_code, 2);
  EXPECT_TRUE(has(nothing.output, {"/nowhere", "no such file"}));
  EXPECT_TRUE(has(verify(scratch_.path().string()).output, {"no run", "no checkpoint"}));
  EXPECT_TRUE(has(verify("--run_dir=" + run_.string() + " --step=7").output, {"--step=7", "800, 1200"}));
  EXPECT_TRUE(has(verify(run_.string() + " --run_dir=x").output, {"--run_dir=x does nothing"}));
  EXPECT_TRUE(has(verify("").output, {"--run_dir is missing"}));
}

TEST(Checksums, AreRefusedByLineWhereTheyAreNoSuchLines) {
  const tests::ScratchDirectory scratch;
  const std::string hash(32, 'a');
  const auto refusal = [&](const std::string& text) {
    test::put_bytes(scratch / "XXH128SUMS", text);
    return test::error_text([&] { read_checksums(scratch / "XXH128SUMS"); });
  };
  EXPECT_TRUE(has(refusal(hash + "  a\n" + hash + " b\n"), {"XXH128SUMS:2"}));
  EXPECT_TRUE(has(refusal("xyz  a\n"), {"XXH128SUMS:1"}));
  EXPECT_TRUE(has(refusal(hash + "  ../../etc/passwd\n"), {"passwd"}));
  test::put_bytes(scratch / "XXH128SUMS", hash + "  results/a b.json\n");
  EXPECT_EQ(read_checksums(scratch / "XXH128SUMS").at("results/a b.json"), hash);
}

}  // namespace
}  // namespace cfm::keeper
