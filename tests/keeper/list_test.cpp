// cfm_checkpoint list, and how commands and flags are read.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <sstream>

#include "base/lease.h"
#include "support/checkpoint_program.h"
#include "support/error_text.h"
#include "support/file_bytes.h"
#include "support/scratch_directory.h"
#include "support/tiny_weights.h"

namespace cfm::keeper {
namespace {

namespace fs = std::filesystem;
using test::cfm_checkpoint;
using test::has;

class List : public testing::Test {
 protected:
  void SetUp() override {
    test::write_tiny_checkpoint(run_, 1200, 0, {0.9, 0.9999});
    test::write_tiny_checkpoint(run_, 800, 0, {0.9});
    fs::create_directories(run_ / "results");
  }
  fs::path checkpoint(const std::string& name) const { return run_ / "checkpoints" / name; }
  std::string listed() const {
    const test::CommandResult result = cfm_checkpoint("list --run_dir=" + run_.string());
    EXPECT_EQ(result.exit_code, 0) << result.output;
    return result.output;
  }
  // The first line that has `word` in it.
  static std::string line_with(const std::string& text, const std::string& word) {
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);)
      if (line.find(word) != std::string::npos) return line;
    ADD_FAILURE() << "no '" << word << "' in:\n" << text;
    return "";
  }

  tests::ScratchDirectory scratch_;
  fs::path run_ = scratch_.path() / "run";
};

TEST_F(List, HasALineForEachCheckpointNewestLast) {
  const std::string text = listed();
  EXPECT_TRUE(has(text, {"2 checkpoints", "step", "images", "committed (UTC)", "size", "averages", "evaluated"}));
  EXPECT_TRUE(has(line_with(text, "  800  "), {"0.9"}));
  EXPECT_TRUE(has(line_with(text, "1,200"), {"0.9, 0.9999"}));
  EXPECT_LT(text.find("  800  "), text.find("1,200"));
  for (const char* absent : {"DAMAGED", "no checkpoints", "results", "begun", "trained now"})
    EXPECT_EQ(text.find(absent), std::string::npos) << absent;
}

TEST_F(List, SaysWhenAndHowMuch) {
  const timespec at[2] = {{951'868'799, 0}, {951'868'799, 0}};
  ASSERT_EQ(::utimensat(AT_FDCWD, checkpoint("step_000000800/manifest.json").c_str(), at, 0), 0);
  uintmax_t bytes = 0;
  for (const auto& file : fs::directory_iterator(checkpoint("step_000000800"))) bytes += file.file_size();
  ASSERT_TRUE(bytes > 1'000'000 && bytes < 9'990'000) << bytes;
  std::array<char, 16> size{};
  std::snprintf(size.data(), size.size(), "%.2f MB", static_cast<double>(bytes) / 1e6);
  EXPECT_TRUE(has(line_with(listed(), "  800  "), {"2000-02-29 23:59:59", size.data()}));
}

TEST_F(List, NamesDamageThatCanBeSeenAndFoldersThatAreNoCheckpoints) {
  fs::resize_file(checkpoint("step_000000800/ema_0.9.safetensors"), 100);
  test::write_tiny_checkpoint(run_, 900, 0, {});
  test::flip_bit(checkpoint("step_000000900/manifest.json"), 40);
  fs::create_directories(checkpoint("step_000000700.damaged"));
  fs::create_directories(checkpoint("step_000001300.4711.0.tmp"));
  fs::create_directories(checkpoint("step_000000400.deleted.tmp"));
  fs::create_directories(checkpoint("step_000001400"));
  const std::string text = listed();
  EXPECT_TRUE(has(line_with(text, "  800  "), {"DAMAGED", "ema_0.9.safetensors has 100 bytes"}));
  EXPECT_TRUE(has(line_with(text, "  900  "), {"DAMAGED", "manifest.json"}));
  EXPECT_TRUE(has(line_with(text, "step_000000700.damaged"), {"set aside"}));
  EXPECT_TRUE(has(line_with(text, "step_000001300.4711.0.tmp"), {"unfinished", "ago"}));
  EXPECT_TRUE(has(line_with(text, "step_000000400.deleted.tmp"), {"being deleted"}));
  EXPECT_TRUE(has(line_with(text, "step_000001400"), {"no manifest.json"}));
}

TEST_F(List, ShowsResultsAndWhoIsAtWork) {
  test::put_bytes(run_ / "results/nll-step_000000800-ab.json",
                  R"({"bits_per_dim": 3.12346, "standard_error": 0.011, "images": 1000})");
  test::put_bytes(run_ / "results/fid-step_000001200-t_1.json", R"({"fid": {"mean": 5.0249}, "samples": 50000})");
  test::put_bytes(run_ / "results/fid-step_000001200-torn.json", R"({"fid": {"me)");
  test::put_bytes(run_ / "results/notes.json", "{}");
  const auto claim = LeaseSeeker(run_ / "results/nll-step_000001200-ab.claim").try_take();
  const auto trainer = LeaseSeeker(run_ / "trainer.lease").try_take();
  ASSERT_TRUE(claim && trainer);
  const std::string me = "process " + std::to_string(::getpid());
  const std::string text = listed();
  EXPECT_TRUE(has(line_with(text, "trained now by"), {me.c_str()}));
  EXPECT_TRUE(has(line_with(text, "nll-step_000000800-ab.json"), {"800", "3.1235", "0.0110 bits/dim", "1,000 images"}));
  EXPECT_TRUE(has(line_with(text, "fid-step_000001200-t_1.json"), {"1,200", "5.025", "50,000 samples"}));
  EXPECT_TRUE(has(line_with(text, "fid-step_000001200-torn.json"), {"cannot be read"}));
  EXPECT_TRUE(has(line_with(text, "nll-step_000001200-ab "), {me.c_str()}));
  EXPECT_TRUE(has(line_with(text, "  800  "), {"nll"}));
  EXPECT_TRUE(has(line_with(text, "0.9, 0.9999"), {"fid, fid; nll begun"}));
  EXPECT_EQ(text.find("notes.json"), std::string::npos);
}

TEST_F(List, ChangesNothing) {
  fs::create_directories(checkpoint("step_000000700.damaged"));
  test::put_bytes(run_ / "results/nll-step_000000800-ab.claim", "id=x\nhost=gone\nspace=y\nprocess=1-1\nbeat=0\n");
  const auto names = [&] {
    std::vector<std::string> all;
    for (const auto& entry : fs::recursive_directory_iterator(run_)) all.push_back(entry.path().string());
    std::ranges::sort(all);
    return all;
  };
  const auto before = names();
  listed();
  EXPECT_EQ(names(), before);
}

TEST_F(List, OfARunWithoutCheckpointsSaysSo) {
  fs::create_directories(scratch_.path() / "new");
  const test::CommandResult result = cfm_checkpoint("list --run_dir=" + (scratch_.path() / "new").string());
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_TRUE(has(result.output, {"0 checkpoints"}));
}

TEST(Commands, ThatAreUnknownOrMissingEndIn2WithTheUsage) {
  for (const char* arguments : {"", "remove --run_dir=x", "--run_dir=x"}) {
    const test::CommandResult result = cfm_checkpoint(arguments);
    EXPECT_EQ(result.exit_code, 2) << arguments;
    EXPECT_TRUE(has(result.output, {"Usage: cfm_checkpoint list|verify"})) << arguments;
  }
}

TEST(Commands, RefuseFlagsThatTheyDoNotLookAt) {
  const test::CommandResult step = cfm_checkpoint("list --run_dir=/nowhere --step=3");
  EXPECT_EQ(step.exit_code, 2);
  EXPECT_TRUE(has(step.output, {"--step=3 does nothing", "list"}));
  const test::CommandResult unknown = cfm_checkpoint("list --run_dri=/nowhere");
  EXPECT_EQ(unknown.exit_code, 2);
  EXPECT_TRUE(has(unknown.output, {"cfm_checkpoint list has no flag --run_dri", "--run_dir"}));
  EXPECT_TRUE(has(cfm_checkpoint("list").output, {"--run_dir is missing"}));
  EXPECT_TRUE(has(cfm_checkpoint("list --run_dir=/nowhere").output, {"/nowhere", "no such folder"}));
  EXPECT_TRUE(has(cfm_checkpoint("list runs/digits").output, {"left-over argument", "runs/digits"}));
}

TEST(Commands, HaveHelp) {
  for (const char* arguments : {"--help", "verify --help"}) {
    const test::CommandResult result = cfm_checkpoint(arguments);
    EXPECT_EQ(result.exit_code, 0);
    EXPECT_TRUE(has(result.output, {"cfm_checkpoint list|verify", "--run_dir", "example"}));
  }
}

}  // namespace
}  // namespace cfm::keeper
