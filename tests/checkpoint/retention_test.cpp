// What is deleted behind a save, and what is kept for those who read it: jobs of this machine, and others that are
// played by what they would have written.
#include "checkpoint/retention.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <random>
#include <thread>

#include "base/error.h"
#include "support/error_text.h"
#include "support/file_bytes.h"
#include "support/scratch_directory.h"

namespace cfm::checkpoint {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using Steps = std::vector<int64_t>;
using test::error_text;
using test::has;

class KeptCheckpoints : public testing::Test {
 protected:
  static StoreConfig config_of(const fs::path& run_dir) {
    StoreConfig config;
    config.run_dir = run_dir;
    config.keep_last = 1;
    config.keep_unevaluated = 2;
    config.reader_times = {.beat = milliseconds(20), .expiry = milliseconds(500)};
    return config;
  }
  void commit(int64_t step) const { scratch_.write("run/checkpoints/" + step_name(step) + "/manifest.json", "{}"); }
  // Commits them one by one, each followed by what a save does; what is there then.
  Steps saved(const Steps& steps) {
    for (const int64_t step : steps) {
      commit(step);
      retention_.apply();
    }
    return committed_steps(config_.run_dir);
  }
  // As a job of another machine leaves it in RUN/readers.
  void put_foreign_lease(const std::string& name, int beat = 7) const {
    scratch_.write(
        "run/readers/" + name,
        "id=abc\nhost=n77\nspace=another boot\nprocess=4711-99\njob=\nattempt=0\nbeat=" + std::to_string(beat) + "\n");
  }
  bool no_readers() const { return !fs::exists(readers_) || fs::is_empty(readers_); }

  tests::ScratchDirectory scratch_;
  StoreConfig config_ = config_of(scratch_ / "run");
  Retention retention_{config_};
  fs::path readers_ = scratch_ / "run/readers";
};

TEST_F(KeptCheckpoints, AreTheNewestIfNobodyReads) {
  EXPECT_EQ(saved({100, 200, 300}), Steps{300});
  EXPECT_TRUE(no_readers());
}

TEST_F(KeptCheckpoints, AreThoseThatAJobHoldsThroughAnyNumberOfSaves) {
  commit(100);
  auto hold = std::make_unique<Hold>(config_.run_dir, 100);
  auto another = std::make_unique<Hold>(config_.run_dir, 100);
  EXPECT_TRUE(hold->keeps().value());
  EXPECT_EQ(saved({200, 300, 400, 500, 600, 700, 800, 900}), (Steps{100, 900}));
  hold.reset();
  EXPECT_EQ(saved({1000}), (Steps{100, 1000}));
  another.reset();
  EXPECT_EQ(saved({1100}), Steps{1100});
  EXPECT_TRUE(no_readers());
}

TEST_F(KeptCheckpoints, AreTheNewestThatAFollowerHasYetToEvaluate) {
  const Follower follower(config_.run_dir, "nll");
  EXPECT_EQ(saved({100, 200, 300, 400, 500}), (Steps{300, 400, 500}));
  follower.settle(400);
  EXPECT_EQ(saved({600}), (Steps{300, 500, 600}));
  follower.settle(300);
  follower.settle(500);
  follower.settle(600);
  EXPECT_EQ(saved({700}), Steps{700});
  EXPECT_EQ(saved({800}), (Steps{700, 800}));
}

TEST_F(KeptCheckpoints, AreNoMoreThanToldWhatIsHeldNotCounted) {
  config_.keep_unevaluated = 0;
  const Follower follower(config_.run_dir, "nll");
  EXPECT_EQ(saved({100, 200}), Steps{200});
  config_.keep_unevaluated = 1;
  const Hold hold(config_.run_dir, 200);
  EXPECT_EQ(saved({300, 400, 500}), (Steps{200, 400, 500}));
}

TEST_F(KeptCheckpoints, GoWhenEveryTaskHasSettledThemByAnyOfItsJobs) {
  const Follower likelihood(config_.run_dir, "nll"), another_job(config_.run_dir, "nll"), fid(config_.run_dir, "fid");
  commit(100);
  another_job.settle(100);
  EXPECT_TRUE(likelihood.is_settled(100));
  EXPECT_FALSE(fid.is_settled(100));
  EXPECT_EQ(saved({200}), (Steps{100, 200}));
  fid.settle(100);
  EXPECT_EQ(saved({200}), Steps{200});
}

TEST_F(KeptCheckpoints, AreNotKeptForAKilledJob) {
  commit(100);
  const pid_t child = ::fork();
  if (child == 0) {
    const Hold hold(config_.run_dir, 100);
    const Follower follower(config_.run_dir, "nll");
    ::raise(SIGKILL);
  }
  ::waitpid(child, nullptr, 0);
  EXPECT_FALSE(no_readers());
  EXPECT_EQ(saved({200, 300}), Steps{300});
  EXPECT_TRUE(no_readers());
}

TEST_F(KeptCheckpoints, AreKeptForAJobOfAnotherMachineAsLongAsItBeats) {
  commit(100);
  const auto since = std::chrono::steady_clock::now();
  int beat = 0;
  while (std::chrono::steady_clock::now() - since < 2 * config_.reader_times.expiry) {
    put_foreign_lease("step_000000100.abc.lease", ++beat);
    put_foreign_lease("nll/abc.lease", beat);
    const int64_t step = 100 + 100 * beat;
    EXPECT_EQ(saved({step}).front(), 100);
    std::this_thread::sleep_for(milliseconds(50));
  }
  EXPECT_EQ(committed_steps(config_.run_dir).size(), 1U + 2U + 1U);  // held, unevaluated, the newest
  std::this_thread::sleep_for(config_.reader_times.expiry + milliseconds(100));
  EXPECT_EQ(saved({1'000'000}), Steps{1'000'000});
  EXPECT_TRUE(no_readers());
}

TEST_F(KeptCheckpoints, AJobWaitsForADeletionThatIsUnderWay) {
  commit(100);
  commit(200);
  put_foreign_lease("deletion.lease");
  Hold hold(config_.run_dir, 100);
  EXPECT_FALSE(hold.keeps().has_value());
  fs::rename(config_.run_dir / "checkpoints/step_000000100",
             config_.run_dir / "checkpoints/step_000000100.deleted.tmp");
  fs::remove(readers_ / "deletion.lease");
  EXPECT_FALSE(hold.keeps().value());
  EXPECT_TRUE(Hold(config_.run_dir, 200).keeps().value());
}

TEST_F(KeptCheckpoints, ADeletionThatAKilledTrainerAnnouncedHoldsUpTheNextOneNoLongerThanItShowsLife) {
  put_foreign_lease("deletion.lease");
  EXPECT_EQ(saved({100, 200}), (Steps{100, 200}));
  std::this_thread::sleep_for(config_.reader_times.expiry);
  EXPECT_EQ(saved({300}), Steps{300});
}

// A trainer saves as fast as it can; readers take holds as they come. What a reader was told is kept must be there
// until it lets go.
TEST_F(KeptCheckpoints, AreThereAsLongAsTheirHoldersWereToldWhateverComesBetween) {
  commit(1);
  std::atomic<bool> ended = false;
  std::atomic<int> kept = 0, gone = 0, broken = 0;
  std::vector<std::thread> readers;
  for (unsigned seed = 1; seed <= 3; ++seed)
    readers.emplace_back([&, seed] {
      std::minstd_rand random(seed);
      while (!ended) {
        const int64_t step = committed_steps(config_.run_dir).front();
        Hold hold(config_.run_dir, step);
        std::optional<bool> keeps;
        while (!(keeps = hold.keeps())) std::this_thread::yield();
        if (!*keeps) {
          ++gone;
          continue;
        }
        ++kept;
        for (auto look = random() % 20; look > 0; --look) broken += is_committed(config_.run_dir, step) ? 0 : 1;
      }
    });
  int64_t step = 1;
  for (const auto since = std::chrono::steady_clock::now();
       std::chrono::steady_clock::now() - since < std::chrono::seconds(30) && (kept <= 50 || gone == 0);)
    saved({++step});
  ended = true;
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(broken, 0);
  EXPECT_GT(kept, 50);
  EXPECT_GT(gone, 0) << "no deletion came between a look and a hold: this shows nothing";
  EXPECT_EQ(saved({step + 1}), Steps{step + 1});
}

TEST_F(KeptCheckpoints, AFollowersLastJobClearsAwayWhatTheTaskHasWritten) {
  auto first = std::make_unique<Follower>(config_.run_dir, "nll"),
       last = std::make_unique<Follower>(config_.run_dir, "nll");
  first->settle(100);
  first.reset();
  EXPECT_TRUE(last->is_settled(100));
  last.reset();
  EXPECT_TRUE(no_readers());
}

TEST_F(KeptCheckpoints, AFollowerThatWasTakenForDeadIsToldWhenItAsks) {
  Follower follower(config_.run_dir, "nll", {.beat = std::chrono::hours(1), .expiry = std::chrono::hours(1)});
  // As another machine sees a job that hangs.
  put_foreign_lease("nll/" + fs::directory_iterator(readers_ / "nll")->path().filename().string());
  EXPECT_FALSE(follower.counts());
}

TEST_F(KeptCheckpoints, AreAllOfThemWhereNobodyCanTellWhoReads) {
  scratch_.write("run/readers", "a file");
  EXPECT_TRUE(has(error_text([&] { Hold(config_.run_dir, 100); }, ExitCode::kRetry), {"run/readers"}));
  EXPECT_EQ(saved({100, 200}), (Steps{100, 200}));
}

// Otherwise it would stay full.
TEST_F(KeptCheckpoints, AreNoMoreOnADiskThatIsTooFullForAnAnnouncement) {
  const Hold hold(config_.run_dir, 100);
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  ::getrlimit(RLIMIT_FSIZE, &before);
  const rlimit few_bytes{10, before.rlim_max};
  ::setrlimit(RLIMIT_FSIZE, &few_bytes);
  const Steps found = saved({100, 200, 300});
  ::setrlimit(RLIMIT_FSIZE, &before);
  EXPECT_EQ(found, (Steps{100, 300}));
}

}  // namespace
}  // namespace cfm::checkpoint
