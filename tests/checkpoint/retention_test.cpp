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
#include <cstdlib>
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
        // Long enough now and then for a save and its deletions, however slow the machine is.
        if (random() % 4 == 0) std::this_thread::sleep_for(milliseconds(random() % 100));
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
  EXPECT_EQ(retention_.apply().size(), 1U);
}

// Otherwise it would stay full. In a process of its own, for which the announcement finds no room.
TEST_F(KeptCheckpoints, AreNoMoreOnADiskThatIsTooFullForAnAnnouncement) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto work = [&] {
    ::setenv("CFM_FAIL_AT", "create:deletion.lease:1:full", 1);
    const Hold hold(config_.run_dir, 100);
    commit(100);
    commit(200);
    commit(300);
    const Problems undeleted = retention_.apply();
    const Steps found = committed_steps(config_.run_dir);
    fs::remove_all(scratch_.path());
    ::_exit(undeleted.empty() && found == Steps{100, 300} ? 0 : 1);
  };
  EXPECT_EXIT(work(), testing::ExitedWithCode(0), "deleted unannounced, to make room");
}

// A limit on the size of files is no full disk: nothing is gained by deleting what a job may be about to read.
TEST_F(KeptCheckpoints, AreAllOfThemWhereADeletionCannotBeAnnouncedForAnotherReasonWhichIsSaid) {
  commit(100);
  commit(200);
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  ::getrlimit(RLIMIT_FSIZE, &before);
  const rlimit few_bytes{10, before.rlim_max};
  ::setrlimit(RLIMIT_FSIZE, &few_bytes);
  const Problems undeleted = retention_.apply();
  ::setrlimit(RLIMIT_FSIZE, &before);
  EXPECT_EQ(committed_steps(config_.run_dir), (Steps{100, 200}));
  ASSERT_EQ(undeleted.size(), 1U);
  EXPECT_TRUE(has(undeleted[0], {"not deleted", "deletion.lease", "File too large"}));
  EXPECT_EQ(retention_.apply(), Problems());
  EXPECT_EQ(committed_steps(config_.run_dir), Steps{200});
}

// Each by its own name; a name that is taken by a full folder cannot be renamed to.
TEST_F(KeptCheckpoints, ThatCannotBeRenamedAreSaidAndTheOthersGo) {
  for (const int64_t step : {100, 200, 300}) commit(step);
  scratch_.write("run/checkpoints/step_000000100.deleted.tmp/left", "x");
  const Problems undeleted = retention_.apply();
  EXPECT_EQ(committed_steps(config_.run_dir), (Steps{100, 300}));
  ASSERT_EQ(undeleted.size(), 1U);
  EXPECT_TRUE(has(undeleted[0], {"step_000000100 is not deleted"}));
}

TEST_F(KeptCheckpoints, IsTheOneThatWasChosenUntilItsReaderLetsGo) {
  commit(100);
  HeldStep held = hold_chosen(config_.run_dir, [] { return 100; });
  EXPECT_EQ(held.step, 100);
  EXPECT_EQ(saved({200, 300}), (Steps{100, 300}));
  held.hold.reset();
  EXPECT_EQ(saved({400}), Steps{400});
}

TEST_F(KeptCheckpoints, AreChosenAnewWhereTheFirstChoiceWasDeletedInBetween) {
  commit(200);
  Steps choices{200, 100};  // from the back
  const HeldStep held = hold_chosen(config_.run_dir, [&] {
    const int64_t step = choices.back();
    choices.pop_back();
    return step;
  });
  EXPECT_EQ(held.step, 200);
  EXPECT_TRUE(held.hold->keeps().value());
  EXPECT_TRUE(choices.empty());
}

TEST_F(KeptCheckpoints, AreReadWithoutAHoldWhereNoneCanBeMade) {
  scratch_.write("run/readers", "a file");
  commit(100);
  testing::internal::CaptureStderr();
  const HeldStep held = hold_chosen(config_.run_dir, [] { return 100; });
  EXPECT_TRUE(has(testing::internal::GetCapturedStderr(), {"step_000000100 is read without a hold", "run/readers"}));
  EXPECT_EQ(held.step, 100);
  EXPECT_EQ(held.hold, nullptr);
}

// What cannot be told is not an absence: a job must not give up a checkpoint that is there.
TEST_F(KeptCheckpoints, ThatCannotBeSeenForNowAreNotCalledGone) {
  commit(100);
  Hold hold(config_.run_dir, 100);
  const fs::path folder = config_.run_dir / "checkpoints/step_000000100";
  fs::rename(folder, scratch_ / "aside");
  fs::create_symlink(folder, folder);  // to itself
  EXPECT_TRUE(has(error_text([&] { hold.keeps(); }, ExitCode::kRetry), {"step_000000100", "symbolic links"}));
  fs::remove(folder);
  EXPECT_FALSE(hold.keeps().value());
  fs::rename(scratch_ / "aside", folder);
  EXPECT_TRUE(hold.keeps().value());
}

}  // namespace
}  // namespace cfm::checkpoint
