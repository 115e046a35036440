// A run has one trainer: a second one is told who, an ended one's run is free at once, and one that lost its run to
// another writes nothing more.

#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <thread>

#include "support/file_bytes.h"
#include "support/training_run.h"

namespace cfm::test {
namespace {

using std::chrono::milliseconds;

class Ownership : public testing::Test {
 protected:
  std::vector<std::string> command(int ranks, const std::string& steps,
                                   const std::vector<std::string>& more = {}) const {
    return mpirun(ranks) + small_run(data_, run_) + std::vector<std::string>{"--steps=" + steps} + more;
  }
  void wait_for_steps(Running& job) const {
    while (!job.ended() && losses(run_).size() < 3) std::this_thread::sleep_for(milliseconds(5));
  }
  bool saved() const { return std::filesystem::exists(run_ / "checkpoints"); }
  std::filesystem::path address_file() const {
    for (const auto& entry : std::filesystem::directory_iterator(run_))
      if (entry.path().extension() == ".address") return entry.path();
    return {};
  }
  // As a trainer of another machine leaves it: a file of its own in the place of what was there.
  void put_foreign_lease() const {
    put_bytes(run_ / "new", "id=abc\nhost=n77\nspace=x\nprocess=4711-9\njob=\nattempt=0\nbeat=00000000000000000007\n");
    std::filesystem::rename(run_ / "new", lease_);
  }
  static void expect_words(const Finished& finished, int exit_code, const std::vector<std::string>& words) {
    EXPECT_EQ(finished.exit_code, exit_code) << finished.output;
    for (const std::string& word : words)
      EXPECT_NE(finished.output.find(word), std::string::npos) << word << " is not in:\n" << finished.output;
  }

  TemporaryFolder folder_;
  std::string data_ = digit_shards(folder_.path(), "train", 0, 64);
  std::filesystem::path run_ = folder_.path() / "run", lease_ = run_ / "trainer.lease";
};

TEST_F(Ownership, OfARunIsRefusedToASecondTrainerWhichNamesTheFirst) {
  Running first(command(2, "1000000"), folder_.path() / "log");
  wait_for_steps(first);
  const Finished second = run(command(2, "1000000"), folder_.path() / "log2");
  expect_words(second, 2, {"--run_dir=" + run_.string() + " is trained by host ", ", process ", "at work"});
  EXPECT_LT(second.seconds, 30);
  kill(first.pid(), SIGUSR1);
  expect_words(first.wait(), 75, {});
  EXPECT_TRUE(saved());
  EXPECT_FALSE(std::filesystem::exists(lease_));
}

TEST_F(Ownership, EndsAtOnceWithATrainerThatIsKilled) {
  Running first(command(0, "1000000"), folder_.path() / "log");
  wait_for_steps(first);
  kill(first.pid(), SIGKILL);
  first.wait();
  ASSERT_TRUE(std::filesystem::exists(lease_));
  const Finished second = run(command(0, "4"), folder_.path() / "log2");
  expect_words(second, 0, {});
  EXPECT_EQ(second.output.find("waiting"), std::string::npos) << second.output;
}

TEST_F(Ownership, OfATrainerElsewhereEndsWhenItHasShownNoLifeForTheTimeGiven) {
  std::filesystem::create_directories(run_);
  put_foreign_lease();
  expect_words(run(command(2, "4", {"--lease_seconds=2"}), folder_.path() / "log"), 0,
               {"waiting", "host n77, process 4711", "2 s"});
}

TEST_F(Ownership, ThatIsLostEndsTheTrainerAtItsNextSaveWithoutWriting) {
  Running job(command(2, "1000000"), folder_.path() / "log");
  wait_for_steps(job);
  put_foreign_lease();
  kill(job.pid(), SIGUSR1);
  expect_words(job.wait(), 2, {"taken over by another job"});
  EXPECT_TRUE(!saved() || std::filesystem::is_empty(run_ / "checkpoints"));
  EXPECT_FALSE(std::filesystem::exists(run_ / "failures.jsonl")) << bytes_of(run_ / "failures.jsonl");
  EXPECT_TRUE(bytes_of(lease_).starts_with("id=abc\n")) << "another's lease was touched";
}

TEST_F(Ownership, WhoseFileIsRemovedEndsTheTrainerAtItsNextSaveForTheSameCommandToContinue) {
  Running job(command(2, "1000000"), folder_.path() / "log");
  wait_for_steps(job);
  std::filesystem::remove(lease_);
  kill(job.pid(), SIGUSR1);
  expect_words(job.wait(), 1, {"trainer.lease", "is not saved", "The same command takes it again"});
  expect_words(run(command(2, "4"), folder_.path() / "log"), 0, {});
}

// Nothing is due to be saved, and nobody asks the trainer to stop.
TEST_F(Ownership, ThatIsLostEndsTheTrainerAtItsNextBeatWithoutWriting) {
  for (const int ranks : {1, 3}) {
    std::filesystem::remove_all(run_);
    Running job(command(ranks, "1000000", {"--lease_seconds=1"}), folder_.path() / "log");
    wait_for_steps(job);
    const std::filesystem::path address = address_file();
    put_bytes(address, "of another\n");
    put_foreign_lease();
    expect_words(
        job.wait(), 2,
        {"the run in " + run_.string() + " has been taken over by another job", "without writing", "--lease_seconds"});
    EXPECT_FALSE(saved());
    EXPECT_TRUE(events(run_, "stop").empty());
    EXPECT_FALSE(std::filesystem::exists(run_ / "failures.jsonl")) << bytes_of(run_ / "failures.jsonl");
    EXPECT_EQ(bytes_of(address), "of another\n");
    EXPECT_TRUE(bytes_of(lease_).starts_with("id=abc\n")) << "another's lease was touched";
  }
}

TEST_F(Ownership, IsNotWaitedForLongerThanASignalComes) {
  std::filesystem::create_directories(run_);
  put_foreign_lease();
  Running job(command(2, "4"), folder_.path() / "log");
  while (!job.ended() && bytes_of(folder_.path() / "log").find("waiting") == std::string::npos)
    std::this_thread::sleep_for(milliseconds(5));
  kill(job.pid(), SIGUSR1);
  const Finished finished = job.wait();
  expect_words(finished, 75, {"stopped by a signal"});
  EXPECT_LT(finished.seconds, 30);
}

}  // namespace
}  // namespace cfm::test
