#include "base/process_facts.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <ctime>
#include <thread>

namespace cfm {
namespace {

constexpr int64_t kMegabyte = 1 << 20;

double now() { return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count(); }

void* touched(size_t bytes, int flags) {
  void* const memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);
  if (memory != MAP_FAILED) std::memset(memory, 1, bytes);
  return memory;
}

TEST(ProcessMemory, TellsWhatAProcessHasToItselfFromWhatItSharesWithAnother) {
  const ProcessMemory before = process_memory(::getpid());
  EXPECT_GT(before.own, 0);
  void* const own = touched(40 * kMegabyte, MAP_PRIVATE);
  void* const shared = touched(80 * kMegabyte, MAP_SHARED);
  ASSERT_NE(own, MAP_FAILED);
  ASSERT_NE(shared, MAP_FAILED);
  const ProcessMemory after = process_memory(::getpid());
  // To a few pages that the test itself takes.
  EXPECT_NEAR(static_cast<double>(after.own - before.own) / kMegabyte, 40, 4);
  EXPECT_NEAR(static_cast<double>(after.shared - before.shared) / kMegabyte, 80, 4);
  // A second process that reads it has the same 80 MB again, and is known by its number.
  int told[2];
  ASSERT_EQ(::pipe(told), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    int64_t sum = 0;
    for (int64_t at = 0; at < 80 * kMegabyte; at += 4096) sum += static_cast<const char*>(shared)[at];
    const char done = sum > 0 ? 'y' : 'n';
    if (::write(told[1], &done, 1) != 1) ::_exit(1);
    ::pause();
  }
  char done = 0;
  ASSERT_EQ(::read(told[0], &done, 1), 1);
  const ProcessMemory of_child = process_memory(child);
  EXPECT_NEAR(static_cast<double>(of_child.shared) / kMegabyte, static_cast<double>(after.shared) / kMegabyte, 4);
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  EXPECT_EQ(process_memory(child).own, 0) << "it is gone";
  ::close(told[0]);
  ::close(told[1]);
  ::munmap(own, 40 * kMegabyte);
  ::munmap(shared, 80 * kMegabyte);
}

TEST(ProcessCpuSeconds, AreThoseThatTheProcessClockCounts) {
  const auto clock = [] { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; };
  while (clock() < 0.3) {
  }
  EXPECT_NEAR(process_cpu_seconds(::getpid()), clock(), 0.1);
}

TEST(ProcessStart, IsBeforeThisTestAndStaysWhereItIs) {
  const double started = process_start_seconds();
  EXPECT_LE(started, now());
  EXPECT_GT(started, now() - 3600);
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  EXPECT_NEAR(process_start_seconds(), started, 0.1) << "it does not move as time goes on";
  // Of a process that is made now: between two looks at the clock, to a tick.
  const double before = now();
  int told[2];
  ASSERT_EQ(::pipe(told), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    const double of_child = process_start_seconds();
    ::_exit(::write(told[1], &of_child, sizeof of_child) == sizeof of_child ? 0 : 1);
  }
  const double after = now();
  double of_child = 0;
  ASSERT_EQ(::read(told[0], &of_child, sizeof of_child), static_cast<ssize_t>(sizeof of_child));
  ::waitpid(child, nullptr, 0);
  EXPECT_GT(of_child, before - 0.05);
  EXPECT_LT(of_child, after + 0.05);
  ::close(told[0]);
  ::close(told[1]);
}

}  // namespace
}  // namespace cfm
