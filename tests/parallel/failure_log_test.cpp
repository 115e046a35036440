// What jobs that end before their time leave in their file of failures. Each test starts misbehaving_rank.

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "support/subprocess.h"

namespace cfm::parallel {
namespace {

class FailureFile : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::remove(file_); }
  void TearDown() override { std::filesystem::remove(file_); }

  test::CommandResult run(int ranks, const std::string& how) const {
    return test::run_command(std::string(CFM_MPIRUN) + " -n " + std::to_string(ranks) +
                             " " CFM_BIN_DIR "/misbehaving_rank " + how + " " + file_.string());
  }
  // The one line that such a job leaves.
  nlohmann::json left_by(int ranks, const std::string& how) {
    SetUp();
    const test::CommandResult result = run(ranks, how);
    std::vector<nlohmann::json> lines;
    std::ifstream in(file_);
    for (std::string line; std::getline(in, line);) lines.push_back(nlohmann::json::parse(line));
    EXPECT_EQ(lines.size(), 1U) << how << "\n" << result.output;
    return lines.empty() ? nlohmann::json::object() : lines[0];
  }

  const std::filesystem::path file_ =
      std::filesystem::temp_directory_path() / ("cfm-failures-" + std::to_string(::getpid()));
};

TEST_F(FailureFile, NamesTheRankThatHangsItsPhaseItsStepSinceWhenAndWhereTheOthersWere) {
  const nlohmann::json hang = left_by(3, "hangs 2");
  EXPECT_EQ(hang.value("cause", ""), "no progress");
  EXPECT_EQ(hang.value("rank", -1), 2);
  EXPECT_EQ(hang.value("phase", ""), "data");
  EXPECT_EQ(hang.value("step", -1), 5);
  // The limit was passed by a rank that waits for this one; the threads that watch count in ticks of 0.125 s.
  EXPECT_GE(hang.value("seconds", 0.0), 3 - 2 * 0.125);
  EXPECT_LT(hang.value("since", "~"), hang.value("time", ""));
  EXPECT_EQ(hang.value("exit_code", -1), 1);
  ASSERT_EQ(hang.at("ranks").size(), 3U);
  EXPECT_EQ(hang.at("ranks")[0].value("phase", ""), "backward");
}

TEST_F(FailureFile, NamesTheRankThatThrowsItsErrorAndWhatItDid) {
  const nlohmann::json error = left_by(3, "error 2");
  EXPECT_EQ(error.value("cause", ""), "error");
  EXPECT_EQ(error.value("told_by", -1), 2);
  EXPECT_EQ(error.value("rank", -1), 2);
  EXPECT_EQ(error.value("phase", ""), "data");
  EXPECT_EQ(error.value("step", -1), 5);
  EXPECT_EQ(error.value("what", ""), "shard 3 is damaged");
  EXPECT_EQ(error.value("exit_code", -1), 2);
}

TEST_F(FailureFile, HasAFaultOfAllRanksOnce) {
  const nlohmann::json error = left_by(3, "shared_error 0");
  EXPECT_EQ(error.value("cause", ""), "error");
  EXPECT_EQ(error.value("what", ""), "--lr is negative");
}

// The killed rank says nothing; another one of its machine sees that its process is gone before the launcher ends all.
TEST_F(FailureFile, NamesTheRankThatIsKilledAsSeenByAnother) {
  for (const int who : {0, 1, 2}) {
    const nlohmann::json gone = left_by(3, "killed " + std::to_string(who));
    EXPECT_EQ(gone.value("cause", ""), "gone");
    EXPECT_EQ(gone.value("rank", -1), who);
    EXPECT_EQ(gone.value("told_by", -1), who == 0 ? 1 : 0);
    EXPECT_FALSE(gone.value("phase", "").empty());
    EXPECT_LE(gone.value("step", 99), 5);
  }
}

TEST_F(FailureFile, IsNotMadeByAJobThatEndsWellOrOnASignal) {
  for (const auto& [how, exit_code] : {std::pair{"nothing 0", 75}, std::pair{"done 0", 0}}) {
    EXPECT_EQ(run(2, how).exit_code, exit_code);
    EXPECT_FALSE(std::filesystem::exists(file_)) << how;
  }
}

}  // namespace
}  // namespace cfm::parallel
