#include "checkpoint/input_file.h"

#include <gtest/gtest.h>

#include <array>

#include "support/error_text.h"
#include "support/scratch_directory.h"

namespace cfm::checkpoint {
namespace {

namespace fs = std::filesystem;
using test::error_text;
using test::has;

class InputFiles : public testing::Test {
 protected:
  tests::ScratchDirectory scratch_;
  fs::path file_ = scratch_ / "file";
};

TEST_F(InputFiles, AreReadByPositionOrWhole) {
  const std::string bytes("any \0 bytes\n", 12);
  scratch_.write("file", bytes);
  const InputFile file(file_);
  EXPECT_EQ(file.size(), 12);
  std::string found(5, ' ');
  file.read(found.data(), 6, 5);
  EXPECT_EQ(found, "bytes");
  EXPECT_EQ(whole_file(file_), bytes);
  scratch_.write("empty", "");
  EXPECT_EQ(whole_file(scratch_ / "empty"), "");
}

TEST_F(InputFiles, ThatAreNotThereOrNoneWillNotBeLaterEither) {
  scratch_.write("file", "x");
  for (const fs::path& missing : {scratch_ / "none", file_ / "below_a_file", scratch_ / std::string(300, 'n')})
    EXPECT_TRUE(has(error_text([&] { const InputFile file(missing); }), {"cannot open", missing.c_str()}));
  EXPECT_TRUE(has(error_text([&] { const InputFile file(scratch_.path()); }), {"not a regular file"}));
}

// Address 0 of a process can never be read: Linux answers with EIO.
TEST_F(InputFiles, ThatTheSystemDoesNotReadForNowAreToBeTriedAgain) {
  const InputFile memory("/proc/self/mem");
  std::array<char, 16> bytes{};
  EXPECT_TRUE(has(error_text([&] { memory.read(bytes.data(), 0, 16); }, ExitCode::kRetry),
                  {"cannot read /proc/self/mem", "Input/output error"}));
  fs::create_symlink("file", file_);  // to itself
  EXPECT_TRUE(has(error_text([&] { const InputFile file(file_); }, ExitCode::kRetry), {"cannot open", file_.c_str()}));
}

TEST_F(InputFiles, ThatShrinkMeanwhileAreToBeOpenedAgain) {
  scratch_.write("file", "twelve bytes");
  const InputFile file(file_);
  fs::resize_file(file_, 7);
  std::array<char, 12> bytes{};
  EXPECT_TRUE(has(error_text([&] { file.read(bytes.data(), 0, 12); }, ExitCode::kRetry),
                  {file_.c_str(), "ends at byte 7, 5 bytes early", "shrunk"}));
}

}  // namespace
}  // namespace cfm::checkpoint
