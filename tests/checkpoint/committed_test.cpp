// What is seen of a run's checkpoints without changing anything: which are there, which is the newest that is intact,
// and what is damage.
#include "checkpoint/committed.h"

#include <gtest/gtest.h>

#include "support/error_text.h"
#include "support/file_bytes.h"
#include "support/scratch_directory.h"
#include "support/tiny_weights.h"

namespace cfm::checkpoint {
namespace {

namespace fs = std::filesystem;
using test::error_text;
using test::has;
using Steps = std::vector<int64_t>;

class Committed : public testing::Test {
 protected:
  void commit(int64_t step) const {
    Manifest manifest;
    manifest.progress.step = step;
    scratch_.write("run/checkpoints/" + step_name(step) + "/manifest.json", to_json(manifest));
  }
  fs::path folder(int64_t step) const { return run_ / "checkpoints" / step_name(step); }
  // The step of the newest intact manifest, -1 for none; `heard_` then has what it heard of on the way.
  int64_t newest(int64_t below = kAnyStep) {
    heard_.clear();
    const std::string json = newest_intact_manifest(
        run_,
        [&](int64_t step, const std::string& why) {
          heard_.push_back(step);
          EXPECT_TRUE(has(why, {step_name(step).c_str(), "damaged"}));
        },
        below);
    return json.empty() ? -1 : manifest_from_json(json, "it").progress.step;
  }

  tests::ScratchDirectory scratch_;
  fs::path run_ = scratch_ / "run";
  Steps heard_;
};

TEST(StepName, HasNineDigitsOrMore) {
  EXPECT_EQ(step_name(12000), "step_000012000");
  EXPECT_EQ(step_name(1234567890), "step_1234567890");
}

TEST_F(Committed, OfARunWithoutCheckpointsIsNothing) {
  EXPECT_EQ(newest(), -1);
  EXPECT_EQ(committed_steps(run_), Steps());
  EXPECT_EQ(checkpoint_names(run_), std::vector<std::string>());
  EXPECT_NO_THROW(refuse_damaged_ones_only(run_));
}

TEST_F(Committed, IsEveryStepWithAManifestWhateverElseThereIs) {
  for (const int64_t step : {200, 100}) commit(step);
  fs::create_directories(folder(300));
  scratch_.write("run/checkpoints/step_000000400.4711.0.tmp/manifest.json", "{}");
  scratch_.write("run/checkpoints/notes", "x");
  EXPECT_EQ(committed_steps(run_), (Steps{100, 200}));
  EXPECT_FALSE(is_committed(run_, 300));
}

TEST_F(Committed, TheNewestManifestThatIsIntactIsFoundAndWhatIsDamagedBeforeIt) {
  for (const int64_t step : {100, 200, 300, 400}) commit(step);
  EXPECT_EQ(newest(), 400);
  EXPECT_EQ(heard_, Steps());
  fs::remove(folder(400) / "manifest.json");
  test::flip_bit(folder(300) / "manifest.json", 40);
  EXPECT_EQ(newest(), 200);
  EXPECT_EQ(heard_, (Steps{400, 300}));
  EXPECT_EQ(newest(200), 100);
  EXPECT_EQ(heard_, Steps());
  EXPECT_EQ(newest(100), -1);
  EXPECT_TRUE(fs::exists(folder(300)) && fs::exists(folder(400))) << "something was renamed";
}

TEST_F(Committed, AFolderThatWasRenamedIsToldFromDamage) {
  commit(100);
  fs::rename(folder(100), folder(101));
  EXPECT_TRUE(has(error_text([&] { newest(); }), {"step_000000101", "is of step 100", "rename it to step_000000100"}));
  EXPECT_EQ(heard_, Steps());
}

TEST_F(Committed, OnesThatWereSetAsideAreNoReasonToBeginFromNothing) {
  commit(100);
  fs::rename(folder(100), folder(100).string() + ".damaged");
  EXPECT_EQ(newest(), -1);
  EXPECT_TRUE(has(error_text([&] { refuse_damaged_ones_only(run_); }),
                  {"every checkpoint", "step_000000100.damaged", "start this run again from nothing"}));
}

// A link to itself: the system does not read it, and says nothing of what is there.
TEST_F(Committed, WhatCannotBeReadForNowIsNotPassedOverAsDamagedOrGone) {
  for (const int64_t step : {100, 200}) commit(step);
  const fs::path file = folder(200) / "manifest.json";
  fs::rename(file, scratch_ / "aside");
  fs::create_symlink(file, file);
  EXPECT_TRUE(has(error_text([&] { newest(); }, ExitCode::kRetry), {file.c_str(), "not taken for damage"}));
  EXPECT_EQ(heard_, Steps());
  EXPECT_TRUE(has(error_text([&] { is_committed(run_, 200); }, ExitCode::kRetry), {file.c_str()}));
  EXPECT_TRUE(has(error_text([&] { committed_steps(run_); }, ExitCode::kRetry), {file.c_str()}));
  EXPECT_TRUE(has(error_text([&] { read_manifest(folder(200)); }, ExitCode::kRetry), {file.c_str()}));
  fs::rename(scratch_ / "aside", file);
  EXPECT_EQ(newest(), 200);
}

TEST_F(Committed, DamageOfAFileWillNotPassAndOtherBytesThanRankZerosMay) {
  test::write_tiny_checkpoint(run_, 500, 0, {0.9});
  const Manifest manifest = read_manifest(folder(500));
  EXPECT_NO_THROW(verify_checkpoint(folder(500), manifest));
  const FileRecord& record = manifest.files.front();
  const fs::path file = folder(500) / record.name;
  EXPECT_NO_THROW(verify_after_rank_0(file, record));
  test::flip_bit(file, 77);
  EXPECT_TRUE(has(error_text([&] { verify_checkpoint(folder(500), manifest); }), {file.c_str(), "damaged"}));
  EXPECT_TRUE(has(error_text([&] { verify_after_rank_0(file, record); }, ExitCode::kRetry),
                  {file.c_str(), "rank 0 has read it whole", "leave out this node"}));
  fs::remove(file);
  EXPECT_TRUE(has(error_text([&] { verify_checkpoint(folder(500), manifest); }), {file.c_str(), "No such file"}));
}

}  // namespace
}  // namespace cfm::checkpoint
