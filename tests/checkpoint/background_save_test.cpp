// The thread of a save and the thread that trains: what each may do when. Run under ThreadSanitizer too.
#include "checkpoint/background_save.h"

#include <gtest/gtest.h>

#include <atomic>
#include <numeric>
#include <stdexcept>
#include <vector>

namespace cfm::checkpoint {
namespace {

// Until a test lets it go.
class Gate {
 public:
  void open() { open_ = true; }
  void pass() const {
    while (!open_) std::this_thread::yield();
  }

 private:
  std::atomic<bool> open_ = false;
};

TEST(BackgroundSave, LetsItsStateChangeAsSoonAsItIsCopied) {
  for (int round = 0; round < 50; ++round) {
    std::vector<int> state(10'000, round), copy;
    Gate gate;
    BackgroundSave save([&](const SaveProgress& progress) {
      copy = state;
      progress.copied();
      gate.pass();
    });
    save.await_copy();
    for (int& number : state) ++number;
    EXPECT_FALSE(save.ended());
    gate.open();
    save.wait([] {});
    EXPECT_EQ(std::accumulate(copy.begin(), copy.end(), 0), 10'000 * round);
  }
}

TEST(BackgroundSave, HasAllItDidInSightOnceItIsSeenToHaveEnded) {
  for (int round = 0; round < 50; ++round) {
    std::vector<int> done;
    BackgroundSave save([&](const SaveProgress&) { done.assign(1000, 7); });
    while (!save.ended()) std::this_thread::yield();
    EXPECT_EQ(done.size(), 1000U);
    save.await_copy();  // of one that never said so: at once
    save.wait([] {});
    EXPECT_GE(save.seconds(), 0);
  }
}

TEST(BackgroundSave, TellsTheOneThatWaitsThatItMoves) {
  Gate gate;
  int told = 0;
  BackgroundSave save([&](const SaveProgress& progress) {
    for (int piece = 0; piece < 1000; ++piece) progress.moved();
    gate.pass();
  });
  save.wait([&] {
    ++told;
    gate.open();
  });
  EXPECT_GE(told, 1);
  EXPECT_LE(told, 1000);
}

TEST(BackgroundSave, HandsOnWhatItsWorkThrewAndHoldsUpNobody) {
  BackgroundSave save([](const SaveProgress&) { throw std::runtime_error("the disk is full"); });
  save.await_copy();
  try {
    save.wait([] {});
    ADD_FAILURE() << "nothing was thrown";
  } catch (const std::runtime_error& e) {
    EXPECT_STREQ(e.what(), "the disk is full");
  }
  EXPECT_TRUE(save.ended());
}

TEST(BackgroundSave, IsWaitedForBeforeItGoes) {
  bool ended = false;
  {
    const BackgroundSave save([&](const SaveProgress& progress) {
      progress.copied();
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      ended = true;
    });
  }
  EXPECT_TRUE(ended);
}

}  // namespace
}  // namespace cfm::checkpoint
