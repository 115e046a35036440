// What is wrong with a command, a flagfile or the data is said at once, by name, with exit code 2, and no rank is left
// waiting.

#include <gtest/gtest.h>
#include <hdf5.h>
#include <signal.h>

#include <chrono>
#include <fstream>
#include <thread>

#include "data/npz.h"
#include "support/training_run.h"

namespace cfm::test {
namespace {

// Whether a process is there and more than a zombie.
bool runs(int pid) {
  std::ifstream stat("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  std::getline(stat, text);
  const size_t end = text.rfind(") ");
  return end != std::string::npos && text[end + 2] != 'Z' && text[end + 2] != 'X';
}

class BadInput : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder;
    data_ = digit_shards(folder_->path(), "train", 0, 64);
  }
  static void TearDownTestSuite() { delete folder_; }

  // Runs a good command plus `more` on two ranks; expects exit code 2 within seconds and every word in the output.
  static void expect_refused(const std::vector<std::string>& more, const std::vector<std::string>& words,
                             const std::string& data = data_) {
    const Finished finished =
        run(mpirun(2) + small_run(data, folder_->path() / "run") + std::vector<std::string>{"--steps=2"} + more,
            folder_->path() / "log");
    EXPECT_EQ(finished.exit_code, 2) << finished.output;
    EXPECT_LT(finished.seconds, 20);
    for (const std::string& word : words)
      EXPECT_NE(finished.output.find(word), std::string::npos) << "'" << word << "' is not in:\n" << finished.output;
  }
  static std::string flagfile(const std::string& text) {
    const auto path = folder_->path() / "bad.flags";
    std::ofstream(path) << text;
    return path.string();
  }
  // The shards' copy, to damage.
  static std::filesystem::path damaged_copy() {
    const auto copy = folder_->path() / "damaged";
    std::filesystem::remove_all(copy);
    std::filesystem::copy(data_, copy, std::filesystem::copy_options::recursive);
    return copy;
  }

  static inline TemporaryFolder* folder_;
  static inline std::string data_;
};

TEST_F(BadInput, UnknownFlagOnTheCommandLine) {
  expect_refused({"--learning_rate=3"}, {"learning_rate", "command line"});
}
TEST_F(BadInput, UnknownFlagInAFlagfile) {
  expect_refused({"--flagfile=" + flagfile("# comment\n\n--learning_rate=3\n")}, {"learning_rate", "bad.flags:3"});
}
TEST_F(BadInput, SpacesAroundTheEqualsSignInAFlagfile) {
  expect_refused({"--flagfile=" + flagfile("--lr = 3\n")}, {"--lr", "bad.flags:1"});
}
TEST_F(BadInput, SpacesAroundTheEqualsSignOnTheCommandLine) {
  expect_refused({"--ema_decays", "=", "3"}, {"--ema_decays"});
}
TEST_F(BadInput, MissingDashesInAFlagfile) {
  expect_refused({"--flagfile=" + flagfile("\nlr=3\n")}, {"lr=3", "bad.flags:2"});
}
TEST_F(BadInput, DoubledFlagInAFlagfile) {
  expect_refused({"--flagfile=" + flagfile("--val_every=3\n--val_every=4\n")}, {"val_every", "bad.flags:2"});
}
TEST_F(BadInput, DoubledFlagOnTheCommandLine) { expect_refused({"--seed=1", "--seed=2"}, {"--seed"}); }
TEST_F(BadInput, LeftOverArgument) { expect_refused({"surplus"}, {"surplus"}); }
TEST_F(BadInput, MalformedNumber) { expect_refused({"--seed=seven"}, {"--seed", "seven"}); }
TEST_F(BadInput, MissingFlagfile) { expect_refused({"--flagfile=/nowhere.flags"}, {"/nowhere.flags"}); }
TEST_F(BadInput, GlobalBatchOfZero) {
  // In a flagfile, which the good command's own --global_batch would win over: so as the only value.
  const Finished finished = run(mpirun(2) + std::vector<std::string>{program("cfm_train"), "--train_data=" + data_,
                                                                     "--run_dir=" + (folder_->path() / "run").string(),
                                                                     "--steps=1", "--global_batch=0"},
                                folder_->path() / "log");
  EXPECT_EQ(finished.exit_code, 2) << finished.output;
  EXPECT_NE(finished.output.find("--global_batch=0"), std::string::npos) << finished.output;
}
TEST_F(BadInput, AValueThatWontDoInAFlagfileIsNamedWithItsLine) {
  expect_refused({"--flagfile=" + flagfile("\n--keep_last=-3\n--val_images=0 # none\n")},
                 {"--keep_last=-3: must not be negative (", "bad.flags:2)", "--val_images=0: must be at least 1 (",
                  "bad.flags:3)"});
  expect_refused({"--flagfile=" + flagfile("--data_groups=7\n")}, {"--data_groups=7 does not divide", "bad.flags:1)"});
}
TEST_F(BadInput, MoreRanksThanImagesInABatch) {
  const Finished finished = run(mpirun(2) + std::vector<std::string>{program("cfm_train"), "--train_data=" + data_,
                                                                     "--run_dir=" + (folder_->path() / "run").string(),
                                                                     "--steps=1", "--global_batch=1"},
                                folder_->path() / "log");
  EXPECT_EQ(finished.exit_code, 2) << finished.output;
  EXPECT_NE(finished.output.find("--global_batch"), std::string::npos) << finished.output;
}
TEST_F(BadInput, SeveralProblemsAreListedTogether) {
  expect_refused({"--device=tpu", "--precision=fp8"}, {"--device=tpu", "--precision=fp8"});
}
TEST_F(BadInput, MissingData) { expect_refused({}, {"/nowhere"}, "/nowhere"); }
TEST_F(BadInput, ARunInTheFolderOfItsData) {
  const Finished finished =
      run(mpirun(2) + small_run(data_, data_) + std::vector<std::string>{"--steps=2"}, folder_->path() / "log");
  EXPECT_EQ(finished.exit_code, 2);
  EXPECT_NE(finished.output.find("--run_dir=" + data_ + " is the folder of --train_data"), std::string::npos)
      << finished.output;
}
TEST_F(BadInput, GpuOnAMachineWithoutOne) { expect_refused({"--device=cuda"}, {"--device=cpu"}); }

TEST_F(BadInput, TruncatedShard) {
  const auto copy = damaged_copy();
  const auto shard = copy / "train-00001-of-00002.h5";
  std::filesystem::resize_file(shard, std::filesystem::file_size(shard) / 2);
  expect_refused({}, {"train-00001-of-00002.h5"}, copy.string());
}

TEST_F(BadInput, AShardOfAnotherImageSize) {
  const auto copy = damaged_copy();
  // 8 images of 9x9 with labels, packed like the others, put beside them.
  const int64_t count = 8, side = 9;
  const auto bytes = [](int64_t n) { return std::vector<uint8_t>(static_cast<size_t>(n), 3); };
  data::write_npz(folder_->path() / "larger.npz",
                  {{"images", {"|u1", {count, 1, side, side}, bytes(count * side * side)}},
                   {"labels", {"|u1", {count}, bytes(count)}}});
  const Finished packed = run({program("cfm_pack"), "--source=" + (folder_->path() / "larger.npz").string(),
                               "--out=" + folder_->path().string(), "--split=larger"},
                              folder_->path() / "log");
  ASSERT_EQ(packed.exit_code, 0) << packed.output;
  std::filesystem::rename(folder_->path() / "larger/larger-00000-of-00001.h5", copy / "train-00002-of-00002.h5");
  expect_refused({}, {"train-00002-of-00002.h5", "1x9x9", "1x8x8"}, copy.string());
}

TEST_F(BadInput, MissingLabels) {
  const auto copy = damaged_copy();
  const auto shard = copy / "train-00001-of-00002.h5";
  const hid_t file = H5Fopen(shard.c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
  ASSERT_GE(file, 0);
  ASSERT_GE(H5Ldelete(file, "labels", H5P_DEFAULT), 0);
  H5Fclose(file);
  expect_refused({}, {"train-00001-of-00002.h5", "labels"}, copy.string());
}

TEST_F(BadInput, AKilledRankEndsTheJobWithAMessageWithinTwentySeconds) {
  Running job(mpirun(2, 2) + small_run(data_, folder_->path() / "killed") + std::vector<std::string>{"--steps=1000000"},
              folder_->path() / "log");
  while (!job.ended() && losses(folder_->path() / "killed").size() < 3)
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  std::ifstream children("/proc/" + std::to_string(job.pid()) + "/task/" + std::to_string(job.pid()) + "/children");
  std::vector<int> ranks;
  for (int pid = 0; children >> pid;) ranks.push_back(pid);
  ASSERT_EQ(ranks.size(), 2U);
  kill(ranks[1], SIGKILL);
  const auto start = std::chrono::steady_clock::now();
  const Finished finished = job.wait();
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
  EXPECT_NE(finished.exit_code, 0);
  EXPECT_NE(finished.exit_code, 2);
  EXPECT_NE(finished.exit_code, 75);
  EXPECT_NE(finished.output.find("rank 1"), std::string::npos) << finished.output;
  while (runs(ranks[0]) && std::chrono::steady_clock::now() - start < std::chrono::seconds(20)) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  EXPECT_FALSE(runs(ranks[0])) << "rank 0 is still there";
}

}  // namespace
}  // namespace cfm::test
