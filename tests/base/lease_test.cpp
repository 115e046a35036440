// Who gets a lease, who keeps it, and who is told to whom it belongs: between processes of this machine, and others
// that are played by what they would have written.

#include "base/lease.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <thread>

#include "base/error.h"
#include "support/error_text.h"
#include "support/file_bytes.h"
#include "support/scratch_directory.h"

namespace cfm {
namespace {

using std::chrono::milliseconds;

constexpr LeaseTimes kQuick{.beat = milliseconds(20), .expiry = milliseconds(1000)};
constexpr LeaseTimes kSilent{.beat = std::chrono::hours(1), .expiry = milliseconds(400)};  // as one that hangs

class Leases : public testing::Test {
 protected:
  void TearDown() override {
    ::unsetenv("SLURM_JOB_ID");
    ::unsetenv("SLURM_RESTART_COUNT");
  }
  // Of a machine that is not this one.
  void write_foreign(const std::string& job, int attempt, int beat = 7) const {
    test::put_bytes(file_, "id=abc\nhost=n77\nspace=another boot\nprocess=4711-99\njob=" + job +
                               "\nattempt=" + std::to_string(attempt) + "\nbeat=" + std::to_string(beat) + "\n");
  }
  // Runs `work` in a process of its own, which ends without destroying anything; its exit code.
  template <typename Work>
  static int in_a_process(const Work& work) {
    const pid_t child = ::fork();
    if (child == 0) ::_exit(work());
    int status = 0;
    ::waitpid(child, &status, 0);
    return WEXITSTATUS(status);
  }

  tests::ScratchDirectory folder_;
  std::filesystem::path file_ = folder_ / "lease";
};

TEST_F(Leases, IsTakenOnceAndNamesItsHolder) {
  const auto lease = LeaseSeeker(file_, kQuick).try_take();
  ASSERT_TRUE(lease);
  EXPECT_TRUE(lease->held());
  LeaseSeeker second(file_, kQuick);
  EXPECT_FALSE(second.try_take());
  EXPECT_NE(second.holder().text().find("process " + std::to_string(::getpid())), std::string::npos)
      << second.holder().text();
}

TEST_F(Leases, IsStillHeldWhereItsFileIsOutOfSightForAMoment) {
  const auto lease = LeaseSeeker(file_, kQuick).try_take();
  ASSERT_TRUE(lease);
  std::filesystem::rename(file_, folder_ / "aside");
  std::thread back([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    std::filesystem::rename(folder_ / "aside", file_);
  });
  EXPECT_TRUE(lease->held());
  back.join();
  std::filesystem::rename(file_, folder_ / "aside");
  EXPECT_EQ(lease->state(), Lease::State::kGone);
  std::filesystem::create_directory(file_);  // reads as EISDIR
  EXPECT_EQ(lease->state(), Lease::State::kUnseen);
}

// Renamed into its place, as whoever takes it over makes a file of his own.
TEST_F(Leases, ThatIsAnothersNowIsKnownToItsHolderByItsBeatAloneAndNotTouched) {
  const auto lease = LeaseSeeker(file_, kQuick).try_take();
  ASSERT_TRUE(lease);
  std::this_thread::sleep_for(10 * kQuick.beat);
  EXPECT_FALSE(lease->lost());
  std::filesystem::rename(file_, folder_ / "aside");
  std::this_thread::sleep_for(10 * kQuick.beat);
  EXPECT_FALSE(lease->lost()) << "out of sight is not another's";
  const auto own = file_;
  file_ = folder_ / "new";
  write_foreign("", 0);
  std::filesystem::rename(file_, own);
  while (!lease->lost()) std::this_thread::sleep_for(kQuick.beat);
  EXPECT_TRUE(test::bytes_of(own).starts_with("id=abc\n"));
  EXPECT_FALSE(lease->held());
}

TEST_F(Leases, IsSeenAliveByItsBeatAndWhatDoesNotBeatIsNot) {
  const auto never = [] { return false; };
  int waits = 0;
  const auto count = [&](const LeaseHolder&) { ++waits; };
  LeaseSeeker onlooker(file_, kQuick);
  EXPECT_FALSE(onlooker.see_alive(never, count)) << "there is none";
  EXPECT_EQ(waits, 0);
  {
    const auto lease = LeaseSeeker(file_, kQuick).try_take();
    EXPECT_TRUE(onlooker.see_alive(never, count));
    EXPECT_EQ(waits, 1);
    EXPECT_FALSE(LeaseSeeker(file_, kQuick).see_alive([] { return true; }, count)) << "it was not waited for";
    EXPECT_TRUE(lease->held());
  }
  write_foreign("", 0);
  EXPECT_FALSE(onlooker.see_alive(never, count)) << "it has not beaten until it was stale";
  EXPECT_TRUE(std::filesystem::exists(file_)) << "an onlooker took it";
}

// The file's size may not be that of a lease: what is written of it by then is no lease.
TEST_F(Leases, ThatCannotBeWrittenWholeIsNotTakenAndLeavesNothing) {
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  ::getrlimit(RLIMIT_FSIZE, &before);
  const rlimit few_bytes{10, before.rlim_max};
  ::setrlimit(RLIMIT_FSIZE, &few_bytes);
  const std::string text = test::error_text([&] { LeaseSeeker(file_, kQuick).try_take(); }, ExitCode::kRetry);
  ::setrlimit(RLIMIT_FSIZE, &before);
  EXPECT_TRUE(test::has(text, {"cannot write", file_.c_str(), "File too large"}));
  EXPECT_FALSE(std::filesystem::exists(file_));
}

TEST_F(Leases, ThatNoOtherAsksForHasANameOfItsOwn) {
  std::vector<std::unique_ptr<Lease>> leases;
  for (int i = 0; i < 3; ++i) leases.push_back(new_lease(folder_.path(), "step_7.", kQuick));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_.path()), {}), 3);
  for (const auto& lease : leases) {
    EXPECT_TRUE(lease->file().filename().string().starts_with("step_7."));
    EXPECT_TRUE(LeaseSeeker(lease->file(), kQuick).is_held());
  }
  leases.clear();
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));
  EXPECT_THROW(new_lease(folder_ / "none", "", kQuick), Error);
}

TEST_F(Leases, BeatEveryFiveSecondsWhateverTheirExpiry) {
  EXPECT_EQ(lease_times(6).beat, milliseconds(500));
  EXPECT_EQ(lease_times(600).beat, milliseconds(5000));
  EXPECT_EQ(lease_times(600).expiry, milliseconds(600'000));
}

TEST_F(Leases, IsFreeOnceItIsGivenBack) {
  LeaseSeeker(file_, kQuick).try_take().reset();
  EXPECT_FALSE(std::filesystem::exists(file_));
  EXPECT_TRUE(LeaseSeeker(file_, kQuick).try_take());
}

TEST_F(Leases, CanBeLookedAtWithoutBeingTaken) {
  LeaseSeeker onlooker(file_, kQuick);
  EXPECT_FALSE(onlooker.is_held());
  {
    const auto lease = LeaseSeeker(file_, kQuick).try_take();
    EXPECT_TRUE(onlooker.is_held());
    EXPECT_TRUE(lease->held());
  }
  EXPECT_FALSE(onlooker.is_held());
  write_foreign("", 0);
  EXPECT_TRUE(onlooker.is_held());
  std::this_thread::sleep_for(kQuick.expiry + milliseconds(100));
  EXPECT_FALSE(onlooker.is_held());
  EXPECT_TRUE(std::filesystem::exists(file_));
}

TEST_F(Leases, ThatBeatsIsNeverStale) {
  const auto lease = LeaseSeeker(file_, kQuick).try_take();
  LeaseSeeker second(file_, kQuick);
  for (int look = 0; look < 40; ++look) {
    EXPECT_FALSE(second.try_take()) << look;
    std::this_thread::sleep_for(milliseconds(50));
  }
  bool waited = false;
  EXPECT_FALSE(second.take_or_see_alive([] { return false; }, [&](const LeaseHolder&) { waited = true; }));
  EXPECT_TRUE(waited);
  EXPECT_TRUE(lease->held());
}

TEST_F(Leases, WithoutABeatIsTakenOverAndItsHolderIsTold) {
  auto hanging = LeaseSeeker(file_, kSilent).try_take();
  LeaseSeeker second(file_, kQuick);
  EXPECT_FALSE(second.try_take()) << "stale is what this observer has seen not to beat";
  const auto taken = second.take_or_see_alive([] { return false; }, [](const LeaseHolder&) {});
  ASSERT_TRUE(taken);
  EXPECT_TRUE(taken->held());
  EXPECT_FALSE(hanging->held());
  hanging.reset();
  EXPECT_TRUE(taken->held()) << "the one that lost it removed another's file";
}

TEST_F(Leases, OfAProcessOfThisMachineThatEndedIsTakenAtOnce) {
  ASSERT_EQ(in_a_process([&] { return LeaseSeeker(file_, kQuick).try_take().release() != nullptr ? 0 : 1; }), 0);
  ASSERT_TRUE(std::filesystem::exists(file_));
  EXPECT_TRUE(LeaseSeeker(file_, {}).try_take());
}

TEST_F(Leases, OfAnEarlierAttemptOfTheSameSlurmJobIsTakenAtOnceAndOfNoOtherJob) {
  ::setenv("SLURM_JOB_ID", "12", 1);
  ::setenv("SLURM_RESTART_COUNT", "1", 1);
  write_foreign("13", 0);
  EXPECT_FALSE(LeaseSeeker(file_, {}).try_take());
  write_foreign("12", 1);
  EXPECT_FALSE(LeaseSeeker(file_, {}).try_take()) << "a second step of the same attempt";
  write_foreign("12", 0);
  EXPECT_TRUE(LeaseSeeker(file_, {}).try_take());
}

TEST_F(Leases, OfAnotherMachineIsJudgedByItsBeatAlone) {
  write_foreign("", 0);
  LeaseSeeker seeker(file_, kQuick);
  EXPECT_FALSE(seeker.try_take());
  std::this_thread::sleep_for(kQuick.expiry / 2);
  write_foreign("", 0, 8);
  EXPECT_FALSE(seeker.try_take());
  std::this_thread::sleep_for(kQuick.expiry * 3 / 4);
  EXPECT_FALSE(seeker.try_take()) << "the last beat is what counts";
  std::this_thread::sleep_for(kQuick.expiry / 2);
  EXPECT_TRUE(seeker.try_take());
}

TEST_F(Leases, ThatIsStaleIsTakenByOneOfManyThatSeekIt) {
  for (int round = 0; round < 3; ++round) {
    write_foreign("", 0);
    constexpr int kSeekers = 6;
    std::array<pid_t, kSeekers> children{};
    for (pid_t& child : children) {
      child = ::fork();
      if (child != 0) continue;
      const auto lease = LeaseSeeker(file_, kQuick).take_or_see_alive([] { return false; }, [](const LeaseHolder&) {});
      if (!lease) ::_exit(0);
      std::this_thread::sleep_for(2 * kQuick.expiry);
      ::_exit(lease->held() ? 1 : 2);
    }
    int winners = 0;
    for (const pid_t child : children) {
      int status = 0;
      ::waitpid(child, &status, 0);
      EXPECT_NE(WEXITSTATUS(status), 2) << "taken from one that held it and beat";
      winners += WEXITSTATUS(status) == 1;
    }
    EXPECT_EQ(winners, 1);
    std::filesystem::remove(file_);
  }
}

}  // namespace
}  // namespace cfm
